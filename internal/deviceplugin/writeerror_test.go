package deviceplugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/confcom/confcom/internal/epc"
)

// A file that cannot be written causes the same error each time: it is logged once.
func TestWriteErrors(t *testing.T) {
	for name, write := range map[string]func(dir string) error{
		epc.AdvertisementFile: func(dir string) error { return writeAdvertisement(dir, epc.Advertisement{}) },
		featureFile:           func(dir string) error { return writeFeatureFile(dir, epc.Capacity{Mode: epc.Node}) },
		cdiFile: func(dir string) error {
			_, err := writeCDIFile(dir, map[string][]*v1beta1.DeviceSpec{"enclave": {{HostPath: "/dev/a", ContainerPath: "/dev/a", Permissions: "rw"}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, name, "in the way"), 0o755); err != nil {
				t.Fatal(err)
			}
			first, second := write(dir), write(dir)
			if first == nil || second == nil || first.Error() != second.Error() || !strings.Contains(first.Error(), filepath.Join(dir, name)) {
				t.Errorf("%v\nand then %v", first, second)
			}
			if !errors.Is(first, syscall.EEXIST) && !errors.Is(first, syscall.EISDIR) {
				t.Errorf("%v has lost its cause", first)
			}
			if name != epc.AdvertisementFile {
				return
			}
			absent := filepath.Join(dir, "absent")
			if first, second := write(absent), write(absent); !errors.Is(first, os.ErrNotExist) || first.Error() != second.Error() {
				t.Errorf("%v\nand then %v", first, second)
			}
		})
	}
}
