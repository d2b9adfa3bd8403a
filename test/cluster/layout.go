package main

import (
	"fmt"
	"path/filepath"
)

// The cluster uses address ranges that are reserved for documentation, so they cannot
// collide with a real network. Node and pods share one bridge. The API server listens
// on the address of the service "kubernetes", the first one of the service range, so
// pods reach it without kube-proxy.
const (
	nodeName     = "confcom-node"
	bridgeName   = "confcom0"
	nodeIP       = "198.51.100.1"
	podRange     = "198.51.100.0/24"
	serviceIP    = "203.0.113.1"
	serviceRange = "203.0.113.0/24"
	apiServer    = "https://" + serviceIP + ":443"
)

const (
	// pauseImage is the image of every pod's sandbox.
	pauseImage = "confcom.invalid/pause:local"
	// kubeletDir is where the kubelet has its sockets. Device plugins rely on this
	// path, so the cluster mounts its own directory there.
	kubeletDir = "/var/lib/kubelet"
	// maxStateDir leaves room for containerd's shim sockets, which append 67 bytes to a
	// socket path that may have 107.
	maxStateDir = 40
)

// layout has the paths of all files. The templates use it as well.
type layout struct {
	State string // the directory that down removes
	Bin   string // the cached binaries, which it leaves
	Runc  string // the system's runc
}

func newLayout(state string) (layout, error) {
	state, err := filepath.Abs(state)
	if err != nil {
		return layout{}, fmt.Errorf("find the state directory: %w", err)
	}
	if len(state) > maxStateDir {
		return layout{}, fmt.Errorf("the path of the state directory %s is too long for the sockets in it: at most %d characters are allowed", state, maxStateDir)
	}
	return layout{State: state}, nil
}

func (l layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.State}, elem...)...)
}
func (l layout) binary(name string) string    { return filepath.Join(l.Bin, name) }
func (l layout) log(component string) string  { return filepath.Join(l.Logs(), component+".log") }
func (l layout) config(name string) string    { return l.path("config", name) }
func (l layout) kubeconfig(who string) string { return l.path("config", who+".kubeconfig") }
func (l layout) control() string              { return l.path("control.sock") }
func (l layout) etcdSocket() string           { return l.path("etcd.sock") }
func (l layout) pauseTar() string             { return l.path("pause.tar") }

func (l layout) Logs() string             { return l.path("logs") }
func (l layout) Cert(who string) string   { return l.path("pki", who+".crt") }
func (l layout) Key(who string) string    { return l.path("pki", who+".key") }
func (l layout) CNIConfig() string        { return l.path("cni", "conf.d") }
func (l layout) ContainerdSocket() string { return l.path("containerd.sock") }
func (l layout) ShimSockets() string      { return l.path("s") }
func (l layout) PauseImage() string       { return pauseImage }
func (l layout) Cgroup() string           { return "/" + filepath.Base(l.State) }
func (l layout) Bridge() string           { return bridgeName }
func (l layout) NodeIP() string           { return nodeIP }
func (l layout) PodRange() string         { return podRange }
