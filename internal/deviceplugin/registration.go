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
	// registerTimeout exceeds the 10 seconds within which the kubelet dials back,
	// before it responds.
	registerTimeout = 15 * time.Second
	// stopTimeout bounds the wait for calls in progress at the end.
	stopTimeout = 5 * time.Second
	// watchTimeout bounds the wait for the kubelet to request the devices after it
	// has accepted a registration. It does so at once, unless it has dropped the
	// plugin meanwhile, of which it gives no notice.
	watchTimeout = 15 * time.Second
)

// errNewKubelet ends the registration with a kubelet that another one has replaced.
var errNewKubelet = errors.New("the kubelet has restarted")

// registration makes a new socket, registers it with the kubelet, and serves it until
// ctx is done, the resource is no longer advertised, or the kubelet no longer uses the
// socket. It returns how long the resource was registered, and why the registration
// failed or ended: nil if the resource is no longer advertised.
func (e *endpoint) registration(ctx context.Context, poll <-chan struct{}, m resourceMetrics) (lasted time.Duration, err error) {
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
		return 0, fmt.Errorf("create plugin socket: %w", err)
	}
	server := grpc.NewServer()
	calls := newService(e, m, e.quotes != nil && !e.quotes.served(ctx))
	v1beta1.RegisterDevicePluginServer(server, calls)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		close(calls.stopping)
		timeout := time.AfterFunc(stopTimeout, server.Stop)
		server.GracefulStop() // also removes the socket
		timeout.Stop()
		<-served
	}()

	// A kubelet that restarts ends the wait for the one before.
	ctx, end := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { end(e.waitLost(ctx, path, kubelet, poll)) })
	defer watching.Wait()
	defer end(nil)

	// The kubelet calls back before it responds, so the socket is served already.
	if err := register(ctx, e.dir.kubeletSocket(), filepath.Base(path), e.resource, calls.options()); err != nil {
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
		return 0, fmt.Errorf("the kubelet accepted the registration but did not request the devices within %s", watchTimeout)
	case <-calls.watched:
	}
	began := time.Now()
	e.registered.Set(nil)
	m.registered.Set(1)
	defer m.registered.Set(0)
	m.registrations.Inc()
	e.log.Info("registered with the kubelet", "socket", path)

	for {
		advertised, changed := e.current()
		if advertised == nil {
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

// waitLost waits until the kubelet cannot use the plugin's socket at path any more,
// because the socket is removed or another kubelet has replaced the given one, and
// returns the reason. It returns nil if ctx is done first.
func (e *endpoint) waitLost(ctx context.Context, path string, kubelet socketID, poll <-chan struct{}) error {
	for {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: the plugin's socket was removed", errNewKubelet)
		}
		if now, err := e.dir.kubelet(); err == nil && now != kubelet {
			return fmt.Errorf("%w: its socket was replaced", errNewKubelet)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-poll:
		}
	}
}

// register registers the plugin's socket endpoint with the kubelet at socket.
func register(ctx context.Context, socket, endpoint, resource string, options *v1beta1.DevicePluginOptions) error {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	conn, err := grpc.NewClient("passthrough:///kubelet",
		grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to kubelet: %w", err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	_, err = v1beta1.NewRegistrationClient(conn).Register(ctx, &v1beta1.RegisterRequest{
		Version:      v1beta1.Version,
		Endpoint:     endpoint,
		ResourceName: resource,
		Options:      options,
	})
	if err != nil {
		return fmt.Errorf("register with the kubelet at %s: %w", socket, err)
	}
	return nil
}
