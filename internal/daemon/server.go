package daemon

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxHeaderBytes bounds a request's header. Go accepts 4 KiB more than it says.
	maxHeaderBytes = 8 << 10
	// headerTimeout bounds the time in which a client sends a request's header.
	headerTimeout = 5 * time.Second
	// readTimeout bounds the time in which a client sends a whole request. The server
	// reads the end of a body that a handler has not read.
	readTimeout = 10 * time.Second
	// idleTimeout bounds the time between two requests on a connection.
	idleTimeout = time.Minute
	// bufferSize is the size of a connection's buffers in the kernel, one for each
	// direction. Linux allocates up to twice as much for each, and up to several MiB if the
	// size is not set.
	bufferSize = 32 << 10
)

// NewServer returns a server for a port that anyone may reach. It bounds the size of
// headers, and the time in which a client sends a header, a request and the next
// request. The caller sets WriteTimeout. The server speaks HTTP/1 only: a connection
// carries one request at a time, so that Listen bounds requests as well. A caller that adds
// HTTP/2 bounds requests itself.
func NewServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(connKey{}).(*boundedConn); ok {
				if r.ContentLength == 0 {
					c.enter(serving)
				} else {
					r.Body = &receivedBody{r.Body, c}
				}
			}
			handler.ServeHTTP(w, r)
		}),
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		Protocols:         new(http.Protocols),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if c := bounded(conn); c != nil {
				return context.WithValue(ctx, connKey{}, c)
			}
			return ctx
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			c := bounded(conn)
			switch {
			case c == nil:
			case state == http.StateActive: // a request's first byte has arrived
				c.enter(receiving)
			case state == http.StateIdle:
				c.enter(idle)
			}
		},
	}
	server.Protocols.SetHTTP1(true)
	return server
}

// receivedBody is the body of a request. The connection is still receiving the request
// until the body has ended.
type receivedBody struct {
	io.ReadCloser
	conn *boundedConn
}

func (b *receivedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.conn.enter(serving)
	}
	return n, err
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// bounded returns the connection of a listener from Listen, which may be below TLS, or
// nil.
func bounded(conn net.Conn) *boundedConn {
	if outer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = outer.NetConn()
	}
	c, _ := conn.(*boundedConn)
	return c
}

// Listen listens on a TCP address for a server from NewServer. At most the given number
// of connections are open, and a quarter of them from one address. A new connection
// beyond that replaces another one:
//
//   - an idle one, if there is any;
//   - otherwise the oldest one of the address with the most connections. One that is
//     being served is replaced only if that address has more connections than the new
//     one's.
//
// An address at its own limit only replaces its own connections, and none that is being
// served. If nothing can be replaced, the new connection is closed. So connections that
// are held open keep nobody out, and least of all a client with few of them, such as the
// kubelet with its probes.
//
// In the networks of the cluster, which may be nil, each address is one; see Client.
func Listen(address string, connections int, cluster Networks) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return bound(listener, connections, cluster), nil
}

// bound bounds the number of open connections of a listener.
func bound(listener net.Listener, connections int, cluster Networks) *boundedListener {
	return &boundedListener{
		Listener:      listener,
		cluster:       cluster,
		max:           connections,
		maxPerAddress: max(connections/4, 1),
		open:          make(map[netip.Addr]int),
	}
}

// boundedListener is a listener with a bounded number of open connections.
type boundedListener struct {
	net.Listener
	max, maxPerAddress int
	cluster            Networks

	mu    sync.Mutex
	open  map[netip.Addr]int // open connections by address
	conns list.List          // of *boundedConn; the one that has been in its state for longest first
}

// Accept returns the next connection that there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &boundedConn{Conn: conn, listener: l, from: Client(conn.RemoteAddr().String(), l.cluster)}
		replaced, ok := l.admit(c)
		if replaced != nil {
			_ = replaced.Conn.Close() // Accept can do nothing about an error
		}
		if ok {
			if tcp, ok := conn.(*net.TCPConn); ok {
				// An error leaves the system's sizes.
				_ = tcp.SetReadBuffer(bufferSize)
				_ = tcp.SetWriteBuffer(bufferSize)
			}
			return c, nil
		}
		_ = conn.Close()
	}
}

// admit admits a connection and returns the one that it replaces, if any. It reports
// false if there is no room.
func (l *boundedListener) admit(c *boundedConn) (replaced *boundedConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns.Len() >= l.max || l.open[c.from] >= l.maxPerAddress {
		replaced = l.replaceable(c.from)
		if replaced == nil {
			return nil, false
		}
		l.forget(replaced)
	}
	l.open[c.from]++
	c.element = l.conns.PushBack(c)
	return replaced, true
}

// replaceable returns the connection that a new one from the given address replaces, or
// nil. The caller holds mu.
func (l *boundedListener) replaceable(from netip.Addr) *boundedConn {
	own := l.open[from] >= l.maxPerAddress
	var best *boundedConn
	for e := l.conns.Front(); e != nil; e = e.Next() {
		c := e.Value.(*boundedConn)
		if own && (c.from != from || c.state == serving) ||
			c.state == serving && l.open[c.from] <= l.open[from]+1 {
			continue
		}
		if best == nil || l.before(c, best) {
			best = c
		}
	}
	return best
}

// before reports whether c is replaced rather than other, although it has been in its
// state for less time. The caller holds mu.
func (l *boundedListener) before(c, other *boundedConn) bool {
	switch {
	case (c.state == idle) != (other.state == idle):
		return c.state == idle
	case l.open[c.from] != l.open[other.from]:
		return l.open[c.from] > l.open[other.from]
	}
	return c.state != serving && other.state == serving
}

// forget no longer counts a connection. The caller holds mu.
func (l *boundedListener) forget(c *boundedConn) {
	if c.element == nil {
		return
	}
	l.conns.Remove(c.element)
	c.element = nil
	l.open[c.from]--
	if l.open[c.from] == 0 {
		delete(l.open, c.from)
	}
}

// connState is what a connection is at.
type connState int

const (
	receiving connState = iota // new, or a request's header or body is incomplete
	serving                    // a handler runs, or its response is being sent
	idle                       // between two requests
)

// boundedConn is a connection that its listener counts until it is closed.
type boundedConn struct {
	net.Conn
	listener *boundedListener
	from     netip.Addr

	// Guarded by listener.mu.
	state   connState
	element *list.Element // in listener.conns; nil once the connection no longer counts
}

// enter changes the state of the connection.
func (c *boundedConn) enter(state connState) {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.state = state
	if c.element != nil {
		c.listener.conns.MoveToBack(c.element)
	}
}

// CloseWrite ends what is sent. The server does so before it closes a connection whose
// request it has not read, so that the client can read the response.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	c.listener.mu.Lock()
	c.listener.forget(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
