package epc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"

	"github.com/google/renameio/v2"

	"github.com/confcom/confcom/internal/strictjson"
)

const (
	// DefaultStateDir is the directory on the node for the file with its Advertisement.
	DefaultStateDir = "/var/run/confcom"
	// AdvertisementFile is the name of that file.
	AdvertisementFile = "epc.json"
	// maxAdvertisement is the maximum length of the file in bytes.
	maxAdvertisement = 64 << 10
)

// State is how a node advertises its EPC at the moment.
type State string

// The states. A node changes from devices to node through closing and releasing, because
// a kubelet that knows EPC as devices refuses pods that use it in any other way.
const (
	// StateNone is that of a node without EPC to advertise.
	StateNone State = "none"
	// StateDevices is mode devices.
	StateDevices State = "devices"
	// StateClosing keeps new pods away from the devices, which are about to be withdrawn.
	StateClosing State = "closing"
	// StateReleasing waits until the kubelet has forgotten the devices.
	StateReleasing State = "releasing"
	// StateNode is mode node.
	StateNode State = "node"
)

// UnmarshalText parses the name of a state.
func (s *State) UnmarshalText(text []byte) error {
	switch state := State(text); state {
	case StateNone, StateDevices, StateClosing, StateReleasing, StateNode:
		*s = state
		return nil
	}
	return errors.New("not one of none, devices, closing, releasing, node")
}

// Advertisement is how a node advertises its EPC at the moment. The device plugin, which
// decides, writes it into a file. What else takes part reads the file.
type Advertisement struct {
	// Resource counts MiB of EPC, and DeviceResource the containers with the enclave
	// device.
	Resource       ResourceName `json:"resource"`
	DeviceResource ResourceName `json:"deviceResource"`
	State          State        `json:"state"`
	// Wanted is the mode that the policy asks for, Devices or Node; empty in StateNone.
	Wanted Mode `json:"wanted,omitempty"`
	// MiB is how much EPC pods can request.
	MiB int64 `json:"mib"`
	// WithheldMiB is how much they cannot because of a cap on devices, in StateDevices.
	WithheldMiB int64 `json:"withheldMiB,omitempty"`
	// Message is why the node is in this state, and what to do if it should not be.
	Message string `json:"message"`
	// Pods is how many pods keep the node from the mode that is wanted, and PodNames
	// some of them.
	Pods     int      `json:"pods"`
	PodNames []string `json:"podNames"`
}

// Held reports whether pods keep the node from the mode that is wanted.
func (a Advertisement) Held() bool {
	return a.State == StateDevices && a.Wanted == Node || a.State == StateNode && a.Wanted == Devices
}

// Equal reports whether both say the same.
func (a Advertisement) Equal(b Advertisement) bool { return reflect.DeepEqual(a, b) }

// Write replaces the file in the directory. Every user of the node can read it.
func (a Advertisement) Write(dir string) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode advertisement: %w", err)
	}
	err = renameio.WriteFile(filepath.Join(dir, AdvertisementFile), append(text, '\n'), 0o644,
		renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write advertisement: %w", err)
	}
	return nil
}

// ReadAdvertisement reads the file in the directory. A file that does not exist is
// fs.ErrNotExist. A member that is unknown, such as one of a newer version, is an error:
// it may say that the rest means something else.
func ReadAdvertisement(dir string) (Advertisement, error) {
	file, a, err := openAdvertisement(dir)
	if err != nil {
		return Advertisement{}, err
	}
	return a, file.Close()
}

// openAdvertisement reads the file in the directory, and leaves it open.
func openAdvertisement(dir string) (*os.File, Advertisement, error) {
	path := filepath.Join(dir, AdvertisementFile)
	file, err := os.Open(path)
	if err != nil {
		return nil, Advertisement{}, fmt.Errorf("read advertisement: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxAdvertisement+1))
	if err != nil {
		file.Close()
		return nil, Advertisement{}, fmt.Errorf("read advertisement: %w", err)
	}
	a, err := parseAdvertisement(text)
	if err != nil {
		file.Close()
		return nil, Advertisement{}, fmt.Errorf("read advertisement %s: %w", path, err)
	}
	return file, a, nil
}

func parseAdvertisement(text []byte) (Advertisement, error) {
	if len(text) > maxAdvertisement {
		return Advertisement{}, fmt.Errorf("more than %d bytes", maxAdvertisement)
	}
	var a Advertisement
	if err := strictjson.Unmarshal(text, &a); err != nil {
		return Advertisement{}, err
	}
	modeWanted := a.Wanted == Devices || a.Wanted == Node
	switch {
	case a.Resource == "" || a.DeviceResource == "":
		return Advertisement{}, errors.New("the name of a resource is missing")
	case a.State == "":
		return Advertisement{}, errors.New("the state is missing")
	case (a.State == StateNone) == modeWanted:
		return Advertisement{}, fmt.Errorf("mode %q is wanted in state %s", a.Wanted, a.State)
	case a.MiB < 0 || a.WithheldMiB < 0 || a.Pods < 0 || a.Pods < len(a.PodNames):
		return Advertisement{}, fmt.Errorf("%d MiB, %d withheld, %d pods, %d names of pods: not numbers that a node can have", a.MiB, a.WithheldMiB, a.Pods, len(a.PodNames))
	}
	return a, nil
}
