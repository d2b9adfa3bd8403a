package deviceplugin

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// maxMessage is the longest message in bytes that the kubelet accepts. It drops
// a plugin whose list of devices is longer, and the node then has none.
const maxMessage = 4 << 20

// alphabet is what the IDs of devices are written in. It is as large as can be
// told apart in file names and logs, so that the IDs are short: with it a
// message has room for the 256 GiB of the largest machines.
const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

// deviceID is the ID of the i-th MiB: "0" to "_", then "00" to "__", then
// "000" and so on. It depends on nothing else, because the kubelet remembers
// over restarts which IDs it has given away.
func deviceID(i int) string {
	var id []byte
	for ; i >= 0; i = i/len(alphabet) - 1 {
		id = append([]byte{alphabet[i%len(alphabet)]}, id...)
	}
	return string(id)
}

// deviceIndex is the inverse of deviceID.
func deviceIndex(id string) (i int, ok bool) {
	if id == "" || len(id) > 3 {
		return 0, false
	}
	i = -1
	for _, letter := range []byte(id) {
		digit := strings.IndexByte(alphabet, letter)
		if digit < 0 {
			return 0, false
		}
		i = (i+1)*len(alphabet) + digit
	}
	return i, true
}

// device is the i-th MiB of EPC.
func device(i int) *v1beta1.Device {
	return &v1beta1.Device{ID: deviceID(i), Health: v1beta1.Healthy}
}

// listDevices are the first n MiB of EPC.
func listDevices(n int) []*v1beta1.Device {
	devices := make([]*v1beta1.Device, n)
	for i := range devices {
		devices[i] = device(i)
	}
	return devices
}

// countFitting is how many of n devices fit into one message.
func countFitting(n uint64) int {
	size, count := 0, 0
	for ; uint64(count) < n; count++ {
		// An element of ListAndWatchResponse.devices: its tag, length and bytes.
		size += protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(device(count)))
		if size > maxMessage {
			break
		}
	}
	return count
}
