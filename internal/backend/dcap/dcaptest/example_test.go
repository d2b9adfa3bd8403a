package dcaptest_test

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/confcom/confcom/internal/backend/dcap/dcaptest"
)

// A program that loads Intel's quoting library gets the stand-in, and one of its quotes
// fails.
func ExampleBuild() {
	dir, _ := os.MkdirTemp("", "dcaptest")
	defer os.RemoveAll(dir)
	library, err := dcaptest.Build(dir, "node-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	faults := dcaptest.Faults(dir)
	if _, err := faults.Inject(dcaptest.Quote, "error-e019"); err != nil { // the network is down
		fmt.Println(err)
		return
	}
	program := exec.Command("quoting-program", library.Path(dcaptest.QuotingLibrary))
	program.Env = append(library.Env(), faults.Env())
	fmt.Println(program.Run())
}
