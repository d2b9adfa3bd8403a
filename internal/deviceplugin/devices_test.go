package deviceplugin

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

func TestDeviceID(t *testing.T) {
	// These are in the checkpoints of kubelets: they may never change.
	for i, want := range map[int]string{
		0: "0", 9: "9", 10: "a", 36: "A", 63: "_",
		64: "00", 65: "01", 128: "10", 4159: "__",
		4160: "000", 262143: "--_", 266303: "___",
	} {
		if got := deviceID(i); got != want {
			t.Errorf("device %d: %s, want %s", i, got, want)
		}
	}
	for i := range 64 + 64*64 + 64*64*64 {
		id := deviceID(i)
		if got, ok := deviceIndex(id); !ok || got != i || len(id) > 3 {
			t.Fatalf("device %d has ID %s, which is device %d (%t)", i, id, got, ok)
		}
	}
}

func TestDeviceIndexOfNoDevice(t *testing.T) {
	for _, id := range []string{"", "0000", "+", "a b", "é", "0\x00", "sgx-epc-1"} {
		if i, ok := deviceIndex(id); ok {
			t.Errorf("%q is device %d", id, i)
		}
	}
}

func TestCountFitting(t *testing.T) {
	tests := []struct {
		mib     uint64
		devices int
		size    int // of the message in bytes
	}{
		{0, 0, 0},
		{1, 1, 14},
		{168, 168, 64*14 + 104*15},
		{8192, 8192, 64*14 + 4096*15 + 4032*16},
		{262144, 262144, 4190080},
		{262408, 262408, maxMessage},
		{262409, 262408, maxMessage},
		{300000, 262408, maxMessage},
		{math.MaxUint64, 262408, maxMessage},
	}
	for _, test := range tests {
		devices := countFitting(test.mib)
		size := proto.Size(&v1beta1.ListAndWatchResponse{Devices: listDevices(devices)})
		if devices != test.devices || size != test.size {
			t.Errorf("%d MiB: %d devices in %d bytes, want %d in %d", test.mib, devices, size, test.devices, test.size)
		}
	}
}
