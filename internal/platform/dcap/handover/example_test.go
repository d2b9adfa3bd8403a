package handover_test

import (
	"os"
	"os/exec"

	"github.com/confcom/confcom/internal/platform/dcap/handover"
)

func ExampleDialer() {
	dialer, file, err := handover.NewDialer()
	if err != nil {
		panic(err)
	}
	defer dialer.Close()
	child := exec.Command("sgx-quote-worker")
	child.ExtraFiles = []*os.File{file} // the child calls handover.Inherit
	_ = child.Start()
	file.Close()
	// From here on, dialer.Dial connects to the child.
}
