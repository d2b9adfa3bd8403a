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

// errDirectoryGone ends the plugin: a directory made anew in the same place is
// another one, which a container does not see before it is started again.
var errDirectoryGone = errors.New("the kubelet's device plugin directory has been removed or replaced: restart this plugin once it is back")

// checkInterval is the time between two looks at the sockets in the directory,
// should events about them be lost.
const checkInterval = time.Second

// directory is the kubelet's directory for sockets of device plugins.
type directory struct {
	path  string
	atRun fs.FileInfo // the directory itself when it was found
}

// findDirectory makes sure that the directory is there.
func findDirectory(path string) (directory, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return directory{}, fmt.Errorf("the kubelet's device plugin directory %s is not there: run this on a Kubernetes node, mount the directory into the container, or name it with --device-plugin-dir", path)
	case err != nil:
		return directory{}, fmt.Errorf("look for the kubelet's device plugin directory: %w", err)
	case !info.IsDir():
		return directory{}, fmt.Errorf("%s is not a directory: name the kubelet's device plugin directory with --device-plugin-dir", path)
	}
	return directory{path: filepath.Clean(path), atRun: info}, nil
}

// kubeletSocket is the path of the socket that plugins register at.
func (d directory) kubeletSocket() string {
	return filepath.Join(d.path, filepath.Base(v1beta1.KubeletSocket))
}

// socketID tells one socket from another at the same path. File systems give
// the number of a removed file to the next one, so its age counts as well. The
// zero value is no socket.
type socketID struct {
	device, inode uint64
	made          time.Time
}

// kubelet identifies the kubelet's socket that is there now. The error says why
// that is not possible.
func (d directory) kubelet() (socketID, error) {
	info, err := os.Lstat(d.kubeletSocket())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return socketID{}, fmt.Errorf("kubelet socket %s is not there: the kubelet is not running or uses another directory (see --device-plugin-dir): waiting", d.kubeletSocket())
	case errors.Is(err, fs.ErrPermission):
		return socketID{}, fmt.Errorf("look for the kubelet's socket: %w: user %d may not search the directory, which belongs to root on most nodes", err, os.Geteuid())
	case err != nil:
		return socketID{}, fmt.Errorf("look for the kubelet's socket: %w", err)
	}
	id := socketID{made: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = stat.Dev, stat.Ino
	}
	return id, nil
}

// gone tells whether the directory is not the one that was found.
func (d directory) gone() bool {
	info, err := os.Stat(d.path)
	return err != nil || !os.SameFile(info, d.atRun)
}

// watch tells through the channel, until it is stopped, when it is time to look
// at the directory again: whenever something happens in it, and every
// checkInterval. What there is to see is in the file system, so it does not
// matter which event it was, or if one was lost.
func (d directory) watch(log *slog.Logger) (look <-chan struct{}, stop func()) {
	var events <-chan fsnotify.Event
	var lost <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		events, lost = watcher.Events, watcher.Errors
		err = watcher.Add(d.path)
	}
	if err != nil { // a node can run out of watches
		log.Warn("the kubelet's directory cannot be watched: it is looked at every second", "error", err)
	}
	looks, stopping, stopped := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(checkInterval)
		defer ticker.Stop()
		for {
			select {
			case <-stopping:
				return
			case <-ticker.C:
			case <-events:
			case <-lost:
			}
			tell(looks, struct{}{})
		}
	}()
	return looks, func() {
		close(stopping)
		<-stopped
		if watcher != nil {
			_ = watcher.Close() // nothing is written through it
		}
	}
}
