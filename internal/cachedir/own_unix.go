//go:build unix

package cachedir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// nonblock keeps the open of a FIFO that was put in the place of a file from waiting.
const nonblock = syscall.O_NONBLOCK | syscall.O_NOFOLLOW

// checkOwn checks that nobody but this user and root can change a file or directory.
func checkOwn(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the owner is unknown", path)
	}
	if uid := os.Geteuid(); stat.Uid != 0 && int(stat.Uid) != uid {
		return fmt.Errorf("%s belongs to user %d, want %d or root: nobody else may write what is cached", path, stat.Uid, uid)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (mode %#o): remove that with chmod go-w, or use a directory in it", path, mode)
	}
	return nil
}
