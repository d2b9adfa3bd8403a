package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"sigs.k8s.io/yaml"
)

// The rendered templates parse, and contain the paths of the layout.
func TestConfigurationParses(t *testing.T) {
	l := layout{State: "/state", Bin: "/bin-dir", Runc: "/usr/sbin/runc"}
	for _, test := range []struct {
		name      string
		unmarshal func([]byte, any) error
		path      []string
		want      string
	}{
		{"containerd.toml", toml.Unmarshal, []string{"grpc", "address"}, "/state/containerd.sock"},
		{"containerd.toml", toml.Unmarshal, []string{"plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox"}, pauseImage},
		{"kubelet.yaml", func(b []byte, v any) error { return yaml.Unmarshal(b, v) }, []string{"containerRuntimeEndpoint"}, "unix:///state/containerd.sock"},
		{"kubelet.yaml", func(b []byte, v any) error { return yaml.Unmarshal(b, v) }, []string{"cgroupRoot"}, "/state"},
		{"cni.conflist", json.Unmarshal, []string{"name"}, "confcom"},
	} {
		content, err := render(test.name, l)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := test.unmarshal(content, &value); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		for _, key := range test.path {
			table, _ := value.(map[string]any)
			value = table[key]
		}
		if value != test.want {
			t.Errorf("%s: %v is %v, want %s", test.name, test.path, value, test.want)
		}
	}
}

func TestStateDirLeavesRoomForSockets(t *testing.T) {
	if _, err := newLayout(defaultState); err != nil {
		t.Errorf("default: %v", err)
	}
	if _, err := newLayout(filepath.Join(defaultState, "with", "a", "long", "tail")); err == nil {
		t.Error("a long path was accepted")
	}
}
