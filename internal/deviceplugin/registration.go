package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	// registerTimeout is more than the 10 seconds that the kubelet gives itself
	// to dial back, which it does before it answers.
	registerTimeout = 15 * time.Second
	// stopTimeout bounds the wait for calls in progress at the end.
	stopTimeout = 5 * time.Second
)

// registration makes a new socket, registers it with the kubelet and stays
// until ctx is done or the kubelet does not use the socket any more. It tells
// whether it was registered, and the error says why it ended or did not begin.
func (p *Plugin) registration(ctx context.Context, dir *directory, devices int) (registered bool, err error) {
	if dir.gone() {
		return false, errDirectoryGone
	}
	kubelet, err := os.Lstat(dir.kubeletSocket())
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("kubelet socket %s is not there: the kubelet is not running or uses another directory (see --kubelet-dir): waiting", dir.kubeletSocket())
	}
	if err != nil {
		return false, fmt.Errorf("look for the kubelet's socket: %w", err)
	}

	path := filepath.Join(dir.path, newSocketName())
	listener, err := net.Listen("unix", path)
	if err != nil {
		return false, fmt.Errorf("make the plugin's socket: %w", err)
	}
	server := grpc.NewServer()
	calls := &service{
		devices:  devices,
		grant:    p.grant(),
		log:      p.Log,
		stopping: make(chan struct{}),
		ended:    make(chan struct{}, 1),
	}
	v1beta1.RegisterDevicePluginServer(server, calls)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		close(calls.stopping)
		impatient := time.AfterFunc(stopTimeout, server.Stop)
		server.GracefulStop() // removes the socket, too
		impatient.Stop()
		<-served
	}()

	// The kubelet calls back before it answers, so it is told only now.
	if err := register(ctx, dir.kubeletSocket(), filepath.Base(path)); err != nil {
		return false, err
	}
	p.report(nil)
	p.Log.Info("registered with the kubelet", "socket", path)

	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-calls.ended:
			return true, errors.New("the kubelet has ended the stream of devices")
		case <-dir.Events:
		case err := <-dir.Errors:
			p.Log.Warn("events of the kubelet's directory may be lost", "error", err)
		}
		if _, err := os.Lstat(path); err != nil {
			return true, errors.New("the plugin's socket has been removed, as a kubelet does when it starts")
		}
		if now, err := os.Lstat(dir.kubeletSocket()); err == nil && !sameSocket(kubelet, now) {
			return true, errors.New("the kubelet has a new socket")
		}
	}
}

// sameSocket tells whether both are the same file. File systems give the number
// of a removed file to the next one, so its age counts as well.
func sameSocket(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime())
}

// register tells the kubelet behind socket the name of the plugin's own.
func register(ctx context.Context, socket, endpoint string) error {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	conn, err := grpc.NewClient("passthrough:///kubelet",
		grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to the kubelet: %w", err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	_, err = v1beta1.NewRegistrationClient(conn).Register(ctx, &v1beta1.RegisterRequest{
		Version:      v1beta1.Version,
		Endpoint:     endpoint,
		ResourceName: Resource,
		Options:      &v1beta1.DevicePluginOptions{},
	})
	if err != nil {
		return fmt.Errorf("register with the kubelet at %s (it is tried again): %w", socket, err)
	}
	return nil
}
