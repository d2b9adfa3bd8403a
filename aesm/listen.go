package aesm

import (
	"errors"
	"fmt"
)

// maxSocketPath is the size of sun_path in Linux' sockaddr_un without its final NUL.
const maxSocketPath = 107

// Reasons why Listen refuses a path. The errors of Listen and TakeOver wrap them.
var (
	ErrInUse       = errors.New("another daemon is serving on it: stop that daemon, take over its socket, or use another path")
	ErrNotSocket   = errors.New("the file is not a socket: remove it, or use another path")
	ErrDirectory   = errors.New("it is a directory: remove it if the socket belongs in its place, or use the path of a file in it, such as aesm.socket")
	ErrAbstract    = errors.New("abstract sockets are not supported: use the path of a file")
	ErrNoPath      = errors.New("the path is empty: use the path of a file")
	ErrPathTooLong = fmt.Errorf("the path exceeds the kernel's limit of %d bytes: use a shorter one", maxSocketPath)
)

// Listen listens on a unix socket at path that every user may connect to (mode
// 0777): enclave applications run as any user, and the protocol carries no secrets.
//
// If there is a stale socket file, as a killed daemon leaves it, Listen replaces it
// atomically: it binds the new socket in a private directory next to it and renames it
// over the old one. It replaces nothing else: the error is ErrInUse if a daemon answers,
// ErrDirectory if the path leads to a directory, and ErrNotSocket if it leads to another
// file that is not a socket. If two daemons start at the same instant on the same stale
// file, both may succeed; the path then leads to the later one.
//
// If the directory of path is missing, Listen creates it with mode 0755, as a
// service manager would, but not the directories above it.
func Listen(path string) (*Listener, error) { return newListener(path, false) }

// TakeOver is Listen, but also replaces the socket of a running daemon by renaming
// its own over it; at no time is the path without a socket. The other daemon keeps
// the connections that it has accepted or that wait to be accepted. Its Listener is
// no longer Current.
func TakeOver(path string) (*Listener, error) { return newListener(path, true) }

// StandBy listens as TakeOver does, but leaves the path to the daemon that serves there now.
// Once the Listener of that daemon is withdrawn or closed, the path leads to this one, which is
// then Current; at no time is the path without a socket. If that daemon is killed instead, the
// path keeps its stale socket, which Listen replaces.
//
// Until then the socket is beside the path, with the suffix ".standby". It replaces that of
// another daemon that stands by. Nothing has to accept connections meanwhile.
func StandBy(path string) (*Listener, error) { return newStandBy(path) }

// standBySuffix follows the path in the name of a socket that stands by for it.
const standBySuffix = ".standby"
