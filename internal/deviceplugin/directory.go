package deviceplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// errDirectoryGone ends the plugin: the mount of a container stays with the removed
// directory, and does not show a new one in its place until the container restarts.
var errDirectoryGone = errors.New("the kubelet's device plugin directory was removed or replaced: restart this plugin once it is back")

// pollInterval is the time between two polls of the directory, in case an event is
// lost.
const pollInterval = time.Second

// directory is the kubelet's directory for sockets of device plugins.
type directory struct {
	path  string
	found fs.FileInfo // identifies the directory that findDirectory found
}

// findDirectory checks that the directory exists.
func findDirectory(path string) (directory, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return directory{}, fmt.Errorf("the kubelet's device plugin directory %s does not exist: run this plugin on a Kubernetes node, and mount the directory into its container", path)
	case err != nil:
		return directory{}, fmt.Errorf("find the kubelet's device plugin directory: %w", err)
	case !info.IsDir():
		return directory{}, fmt.Errorf("the kubelet's device plugin directory %s is not a directory", path)
	}
	return directory{path: filepath.Clean(path), found: info}, nil
}

// kubeletSocket returns the path of the socket at which plugins register.
func (d directory) kubeletSocket() string {
	return filepath.Join(d.path, filepath.Base(v1beta1.KubeletSocket))
}

// socketID distinguishes a socket from others at the same path. File systems reuse
// inode numbers, so it includes the modification time. The zero value is no socket.
type socketID struct {
	device, inode uint64
	modified      time.Time
}

// kubelet identifies the current socket of the kubelet. The error is why there is
// none.
func (d directory) kubelet() (socketID, error) {
	info, err := os.Lstat(d.kubeletSocket())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return socketID{}, fmt.Errorf("kubelet socket %s does not exist: the kubelet is not running or uses another directory", d.kubeletSocket())
	case errors.Is(err, fs.ErrPermission):
		return socketID{}, fmt.Errorf("find kubelet socket: %w: user %d may not search the directory, which belongs to root on most nodes", err, os.Geteuid())
	case err != nil:
		return socketID{}, fmt.Errorf("find kubelet socket: %w", err)
	}
	id := socketID{modified: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = stat.Dev, stat.Ino
	}
	return id, nil
}

// gone reports whether the directory is not the one that findDirectory found.
func (d directory) gone() bool {
	info, err := os.Stat(d.path)
	return err != nil || !os.SameFile(info, d.found)
}

// watch signals through the channel, until stop, that it is time to poll the
// directory: after each event in it, and every pollInterval. The state of the file
// system matters and not the event, so it does no harm if an event is lost.
func (d directory) watch(log *slog.Logger) (poll <-chan struct{}, stop func()) {
	var events <-chan fsnotify.Event
	var failures <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		events, failures = watcher.Events, watcher.Errors
		err = watcher.Add(d.path)
	}
	if err != nil { // a node can run out of watches
		log.Warn("watch kubelet directory failed, polling it instead", "error", err)
	}
	polls, stopping, stopped := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		for {
			select {
			case <-stopping:
				return
			case <-ticker.C:
			case <-events:
			case <-failures:
			}
			notify(polls, struct{}{})
		}
	}()
	return polls, func() {
		close(stopping)
		<-stopped
		if watcher != nil {
			_ = watcher.Close() // nothing is written through it
		}
	}
}
