package deviceplugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
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

// registration makes a new socket, registers it with the kubelet and stays until
// ctx is done, the resource is no longer offered, or the kubelet does not use the
// plugin's socket any more. It tells how long it was registered, and the error
// says why it ended or did not begin; it is nil when the resource is no longer
// offered.
func (e *endpoint) registration(ctx context.Context, look <-chan struct{}, m resourceMetrics) (lasted time.Duration, err error) {
	if e.dir.gone() {
		return 0, errDirectoryGone
	}
	kubelet, err := e.dir.kubelet()
	if err != nil {
		return 0, err
	}
	path := filepath.Join(e.dir.path, newSocketName())
	listener, err := net.Listen("unix", path)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: user %d may not write to the directory, which belongs to root on most nodes", err, os.Geteuid())
	}
	if err != nil {
		return 0, fmt.Errorf("make the plugin's socket: %w", err)
	}
	server := grpc.NewServer()
	calls := newService(e, m)
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

	// A kubelet that starts while this one is waited for ends the wait.
	ctx, end := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { end(e.lost(ctx, path, kubelet, look)) })
	defer watching.Wait()
	defer end(nil)

	// The kubelet calls back before it answers, so it is told only now.
	if err := register(ctx, e.dir.kubeletSocket(), filepath.Base(path), e.resource); err != nil {
		m.failures.Inc()
		return 0, cmp.Or(context.Cause(ctx), err)
	}
	unwatched := time.NewTimer(watchTimeout)
	defer unwatched.Stop()
	select {
	case <-ctx.Done():
		m.failures.Inc()
		return 0, context.Cause(ctx)
	case <-unwatched.C:
		m.failures.Inc()
		return 0, fmt.Errorf("the kubelet has accepted the registration, but not asked for the devices in %s", watchTimeout)
	case <-calls.watched:
	}
	began := time.Now()
	e.registered.Set(nil)
	m.registered.Set(1)
	defer m.registered.Set(0)
	m.registrations.Inc()
	e.log.Info("registered with the kubelet", "socket", path)

	for {
		offered, changed := e.current()
		if offered == nil {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return time.Since(began), context.Cause(ctx)
		case err := <-calls.ended:
			return time.Since(began), err
		case <-changed:
		}
	}
}

// lost waits until the kubelet can no longer know of the plugin's socket at path,
// since it is removed or the kubelet is another than the given one, and says so.
// It returns nil when ctx is done before.
func (e *endpoint) lost(ctx context.Context, path string, kubelet socketID, look <-chan struct{}) error {
	for {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: the plugin's socket has been removed", errNewKubelet)
		}
		if now, err := e.dir.kubelet(); err == nil && now != kubelet {
			return fmt.Errorf("%w: its socket is another", errNewKubelet)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look:
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
