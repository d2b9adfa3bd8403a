package quoting_test

import (
	"context"
	"fmt"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/internal/quoting"
	"github.com/confcom/confcom/quote"
)

// The service of a simulated platform that serves four requests at a time. It is
// the Handler of an aesm.Server.
func ExampleService() {
	platform, err := simulated.New("node-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	service := quoting.NewService(platform, 4, nil)

	ctx, key := context.Background(), aesm.IntelQE3KeyID()
	ready, _ := service.InitQuote(ctx, aesm.Caller{}, key)
	report, _ := platform.Report(ready.TargetInfo) // elsewhere, an enclave makes it
	quoted, err := service.Quote(ctx, aesm.Caller{}, key, report, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	q, err := quote.Parse(quoted.Quote)
	fmt.Println(q.Enclave.MREnclave == report.Body.MREnclave, err)
	// Output: true <nil>
}
