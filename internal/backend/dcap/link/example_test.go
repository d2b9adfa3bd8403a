package link_test

import (
	"os"
	"os/exec"

	"github.com/confcom/confcom/internal/backend/dcap/link"
)

func ExampleDialer() {
	dialer, file, err := link.NewDialer()
	if err != nil {
		panic(err)
	}
	defer dialer.Close()
	child := exec.Command("sgx-quote-worker")
	child.ExtraFiles = []*os.File{file} // the child calls link.Inherit
	_ = child.Start()
	file.Close()
	// From here on, dialer.Dial connects to the child.
}
