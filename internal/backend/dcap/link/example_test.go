package link_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/confcom/confcom/internal/backend/dcap/link"
)

func ExampleClient() {
	client, file, err := link.NewClient()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	worker := exec.Command("sgx-quote-worker")
	worker.ExtraFiles = []*os.File{file} // the worker calls link.Inherit
	err = worker.Start()
	file.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	identity, err := client.Initialize(context.Background())
	fmt.Println(identity.QuoteSize, err)
}
