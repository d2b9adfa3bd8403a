package quoting_test

import (
	"context"
	"fmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
)

// A service whose simulated backend serves four requests at a time. It can be the
// Handler of an aesm.Server.
func ExampleService() {
	backend, err := simulated.New("node-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	service := quoting.NewService(backend, 4, nil)

	ctx, key := context.Background(), aesm.IntelQE3KeyID()
	ready, _ := service.InitQuote(ctx, aesm.Caller{}, key)
	report, _ := backend.Report(ready.TargetInfo) // on SGX hardware, an enclave makes it
	quoted, err := service.Quote(ctx, aesm.Caller{}, key, report, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	q, err := quote.Parse(quoted.Quote)
	fmt.Println(q.Enclave.MREnclave == report.Body.MREnclave, err)
	// Output: true <nil>
}
