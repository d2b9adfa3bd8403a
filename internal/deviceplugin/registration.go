package deviceplugin

import (
	"context"
	"errors"
	"fmt"
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
	// watchTimeout is how long a kubelet that has accepted a registration may
	// take to ask for the devices. It does so at once, unless it has let go of
	// the plugin meanwhile, and then it says nothing.
	watchTimeout = 15 * time.Second
)

// errNewKubelet ends a registration with a kubelet that is no more.
var errNewKubelet = errors.New("the kubelet has started anew")

// registration makes a new socket, registers it with the kubelet behind the
// given socket and stays until ctx is done, the resource is no longer offered,
// or the kubelet does not use the plugin's socket any more. It tells how long it
// was registered, and the error says why it ended or did not begin; it is nil
// when the resource is no longer offered.
func (e *endpoint) registration(ctx context.Context, kubelet socketID, look <-chan struct{}) (lasted time.Duration, err error) {
	if e.dir.gone() {
		return 0, errDirectoryGone
	}
	if kubelet == (socketID{}) {
		return 0, fmt.Errorf("kubelet socket %s is not there: the kubelet is not running or uses another directory (see --kubelet-dir): waiting", e.dir.kubeletSocket())
	}
	path := filepath.Join(e.dir.path, newSocketName())
	listener, err := net.Listen("unix", path)
	if err != nil {
		return 0, fmt.Errorf("make the plugin's socket: %w: this process must be allowed to write to the kubelet's directory, which belongs to root", err)
	}
	server := grpc.NewServer()
	calls := newService(e)
	v1beta1.RegisterDevicePluginServer(server, calls)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		e.metrics.registered.Set(0)
		close(calls.stopping)
		impatient := time.AfterFunc(stopTimeout, server.Stop)
		server.GracefulStop() // removes the socket, too
		impatient.Stop()
		<-served
	}()

	// The kubelet calls back before it answers, so it is told only now.
	if err := register(ctx, e.dir.kubeletSocket(), filepath.Base(path), e.resource); err != nil {
		e.metrics.failures.Inc()
		return 0, err
	}
	unwatched := time.NewTimer(watchTimeout)
	defer unwatched.Stop()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-calls.watched:
	case <-unwatched.C:
		e.metrics.failures.Inc()
		return 0, fmt.Errorf("the kubelet has accepted the registration, but not asked for the devices in %s", watchTimeout)
	}
	began := time.Now()
	e.registered.Set(nil)
	e.metrics.registered.Set(1)
	e.metrics.registrations.Inc()
	e.log.Info("registered with the kubelet", "socket", path)

	for {
		offered, changed := e.current()
		if offered == nil {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return time.Since(began), ctx.Err()
		case <-calls.ended:
			return time.Since(began), errors.New("the kubelet has ended the stream of devices; if this happens again and again, another plugin offers the same resource")
		case <-changed:
		case <-look:
		}
		if _, err := os.Lstat(path); err != nil {
			return time.Since(began), fmt.Errorf("%w: the plugin's socket has been removed", errNewKubelet)
		}
		if now := e.dir.kubelet(); now != (socketID{}) && now != kubelet {
			return time.Since(began), fmt.Errorf("%w: its socket is another", errNewKubelet)
		}
	}
}

// register tells the kubelet behind socket the name of the plugin's own.
func register(ctx context.Context, socket, endpoint, resource string) error {
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
		ResourceName: resource,
		Options:      &v1beta1.DevicePluginOptions{},
	})
	if err != nil {
		return fmt.Errorf("register with the kubelet at %s (it is tried again): %w", socket, err)
	}
	return nil
}
