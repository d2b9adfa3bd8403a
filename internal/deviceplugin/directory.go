package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// errDirectoryGone ends the plugin: a directory made anew in the same place is
// another one, which a container does not see before it is started again.
var errDirectoryGone = errors.New("the kubelet's device plugin directory has been removed or replaced: restart this plugin once it is back")

// directory is the kubelet's directory for sockets of device plugins. The
// events of its watcher are taken as a sign that it is time to look; what there
// is to see is in the file system.
type directory struct {
	*fsnotify.Watcher

	path  string
	atRun fs.FileInfo // the directory itself when it was opened
}

// openDirectory begins to follow what happens in the directory at path.
func openDirectory(path string) (*directory, error) {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the kubelet's device plugin directory %s is not there: run this on a Kubernetes node, mount the directory into the container, or name it with --kubelet-dir", path)
	case err != nil:
		return nil, fmt.Errorf("look for the kubelet's device plugin directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory: name the kubelet's device plugin directory with --kubelet-dir", path)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	if err := watcher.Add(path); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, err), watcher.Close())
	}
	return &directory{Watcher: watcher, path: path, atRun: info}, nil
}

// kubeletSocket is the path of the socket that plugins register at.
func (d *directory) kubeletSocket() string {
	return filepath.Join(d.path, filepath.Base(v1beta1.KubeletSocket))
}

// gone tells whether the directory is not the one that was opened. Its watch
// ends with it, except while a socket that was in it is still open.
func (d *directory) gone() bool {
	info, err := os.Stat(d.path)
	return err != nil || !os.SameFile(info, d.atRun) || len(d.WatchList()) == 0
}

// pause waits for the given time. It returns early when a kubelet makes its
// socket or something befalls the directory itself, and tells so.
func (d *directory) pause(ctx context.Context, duration time.Duration, log *slog.Logger) (early bool) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		case event := <-d.Events:
			if event.Name == d.kubeletSocket() && event.Has(fsnotify.Create) || event.Name == d.path {
				return true
			}
		case err := <-d.Errors:
			log.Warn("events of the kubelet's directory may be lost", "error", err)
		}
	}
}
