//go:build !linux

package node

import "io/fs"

func owner(fs.FileInfo) (user, group int, ok bool) { return -1, -1, false }
