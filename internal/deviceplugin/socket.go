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

// maxSocketPath is how many bytes Linux allows for the path of a unix socket:
// sun_path has 108, and the last is zero.
const maxSocketPath = 107

// socketPrefix begins the names of all sockets of this plugin.
const socketPrefix = "confcom-sgx-"

// newSocketName is a name that no socket has had before. The kubelet takes a
// plugin for the same one when the path is the same.
func newSocketName() string { return socketPrefix + rand.Text()[:8] + ".sock" }

// removeStaleSockets removes what runs of this plugin that were killed have
// left: its sockets that no one listens on.
func removeStaleSockets(ctx context.Context, dir string, log *slog.Logger) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		log.Warn("cannot look for stale sockets", "error", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), socketPrefix) || entry.Type() != fs.ModeSocket {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		if answers(ctx, path) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("cannot remove a stale socket", "error", err)
			continue
		}
		log.Info("removed a stale socket", "socket", path)
	}
}

// answers tells whether someone listens on the socket, or may do so.
func answers(ctx context.Context, path string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED)
}
