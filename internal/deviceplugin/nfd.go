package deviceplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/confcom/confcom/internal/epc"
)

// nfdFile is the name of the feature file of Node Feature Discovery.
const nfdFile = "confcom-sgx"

// tellNFD has Node Feature Discovery write the EPC into the status of the node,
// where it is offered in this way: a rule makes a resource of the feature
// local.feature sgx.epc-mib. The file stays when the plugin stops, so that pods
// keep what they count on while it starts again.
func tellNFD(dir string, o epc.Capacity) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, nfdFile)
	var err error
	if o.Mode == epc.Node {
		err = replaceFile(path, fmt.Appendf(nil, "# +no-label\nsgx.epc-mib=%d\n", o.MiB))
	} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tell Node Feature Discovery of the EPC (--nfd-features-dir): %w", err)
	}
	return nil
}

// replaceFile writes a file that all may read, in one step for those who do.
func replaceFile(path string, content []byte) error {
	// Node Feature Discovery reads no file whose name begins with a dot.
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = next.Write(content)
	if err = errors.Join(err, next.Chmod(0o644), next.Close()); err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return nil
}
