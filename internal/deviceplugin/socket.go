package deviceplugin

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxSocketPath is the maximum length in bytes of the path of a unix socket on Linux:
// sun_path has 108 bytes, and the last one is zero.
const maxSocketPath = 107

// socketPrefix starts the names of all sockets of this plugin.
const socketPrefix = "confcom-sgx-"

// newSocketName returns a name that no socket has had before: the kubelet takes
// plugins with the same path for the same plugin.
func newSocketName() string { return socketPrefix + rand.Text()[:8] + ".sock" }

// removeStaleSockets removes the sockets of this plugin that no process listens on,
// left by instances that were killed. It reports whether another instance still runs, as
// during a rolling update.
func removeStaleSockets(ctx context.Context, dir string, log *slog.Logger) (another bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		log.Warn("list stale sockets failed", "error", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), socketPrefix) || entry.Type() != fs.ModeSocket {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		if mayListen(ctx, path) {
			another = true
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("remove stale socket failed", "error", err)
			continue
		}
		log.Info("removed stale socket", "socket", path)
	}
	return another
}

// mayListen reports whether a process listens on the socket, or might.
func mayListen(ctx context.Context, path string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED)
}
