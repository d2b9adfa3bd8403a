package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveForTest serves health and metrics, with room for the given number of connections,
// until the test ends.
func serveForTest(t *testing.T, connections int) (address string) {
	t.Helper()
	listener, err := Listen("127.0.0.1:0", connections, nil)
	if err != nil {
		t.Fatal(err)
	}
	registry, _ := newRegistry("sgx-example")
	env := &Environment{Health: new(Health), Metrics: registry, Log: newLogger(io.Discard, "error", "text")}
	server := NewServer(withoutBody(env.handler()))
	server.WriteTimeout = time.Minute
	var open sync.WaitGroup
	record := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		record(conn, state)
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Done()
		}
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-served
		open.Wait() // the server lingers for half a second after it has refused a header
	})
	return listener.Addr().String()
}

// dialFrom connects from the i-th of the machine's loopback addresses.
func dialFrom(t *testing.T, i int, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Connections that are held open, however many and in whatever state, do not delay the
// kubelet's probes.
func TestHeldConnections(t *testing.T) {
	const room = 40
	for _, tt := range []struct {
		name    string
		request string // what each connection sends
		reads   bool   // whether it waits for the response
	}{
		{"silent", "", false},
		{"unfinished headers", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<10), false},
		{"large headers", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10), false},
		{"keep-alive", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"bodies that never end", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx", false},
		{"chunks that never end", "POST /readyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nx", false},
		{"responses that are not read", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", false},
	} {
		for _, addresses := range []int{1, 2 * room} {
			t.Run(fmt.Sprintf("%s from %d addresses", tt.name, addresses), func(t *testing.T) {
				address := serveForTest(t, room)
				for i := range 3 * room {
					conn := dialFrom(t, i%addresses, address)
					// The server may have replaced the connection already.
					_, _ = io.WriteString(conn, tt.request)
					if tt.reads {
						_, _ = conn.Read(make([]byte, 1))
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				for range 3 {
					request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
					if err != nil {
						t.Fatal(err)
					}
					request.Close = true // as the kubelet's probes do
					response, err := http.DefaultClient.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					response.Body.Close()
					if response.StatusCode != http.StatusOK {
						t.Error(response.Status)
					}
				}
			})
		}
	}
}

// Bodies that never end do not keep out other requests of the same address, whose bodies
// end.
func TestHeldBodies(t *testing.T) {
	const room = 32 // a quarter for one address: some may be connections that the server is still closing
	listener, err := Listen("127.0.0.1:0", room, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	for range 2 * room {
		conn := dialFrom(t, 0, listener.Addr().String())
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String(), strings.NewReader("whole"))
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialFrom(t, 0, address), nil
		}}}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(text) != "whole" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

func TestLargeHeader(t *testing.T) {
	address := serveForTest(t, 16)
	for _, tt := range []struct {
		size   int
		status int
	}{
		{maxHeaderBytes / 2, http.StatusOK},
		{2 * maxHeaderBytes, http.StatusRequestHeaderFieldsTooLarge},
	} {
		conn := dialFrom(t, 1, address)
		// The server may respond before it has read all.
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", tt.size)+"\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%d bytes: %v", tt.size, err)
		}
		response.Body.Close()
		if response.StatusCode != tt.status {
			t.Errorf("%d bytes: %s, want %d", tt.size, response.Status, tt.status)
		}
	}
}

// A request that is being served is not given up for another one from the same address,
// with TLS or without.
func TestServedIsKept(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			listener, err := Listen("127.0.0.1:0", 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			address := listener.Addr().String()
			if scheme == "https" {
				listener = tls.NewListener(listener, &tls.Config{Certificates: certified.TLS.Certificates})
			}
			began, end := make(chan struct{}), make(chan struct{})
			server := NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				close(began)
				<-end
			}))
			stopped := make(chan error, 1)
			go func() { stopped <- server.Serve(listener) }()
			defer func() {
				server.Close()
				<-stopped
			}()

			responded := make(chan error, 1)
			client := certified.Client()
			defer client.CloseIdleConnections()
			go func() {
				response, err := client.Get(scheme + "://" + address)
				if err == nil {
					response.Body.Close()
				}
				responded <- err
			}()
			<-began
			another, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer another.Close()
			if n, err := another.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("the second connection read %d bytes, %v", n, err)
			}
			close(end)
			if err := <-responded; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReplaced checks which connection makes room for another one. Connections are named
// by the address that they are from and a number; the listener has room for eight, two of
// them from one address.
func TestReplaced(t *testing.T) {
	const refused = "refused"
	for _, tt := range []struct {
		name   string
		open   string // the open connections, the oldest first, with their states
		from   string
		expect string // the replaced connection, refused, or neither
	}{
		{"room", "a1", "a", ""},
		{"address full", "a1 a2", "a", "a1"},
		{"address full, one idle", "a1 a2:idle", "a", "a2"},
		{"address full, one being served", "a1:serving a2", "a", "a2"},
		{"address full, all being served", "a1:serving a2:serving", "a", refused},
		{"address full does not touch others", "b1:idle a1:serving a2:serving", "a", refused},
		{"all full", "a1 b1 b2 c1 d1 e1 f1 g1", "h", "b1"},
		{"all full, one each", "a1 b1 c1 d1 e1 f1 g1 h1", "i", "a1"},
		{"all full, one idle", "a1 b1 b2 c1:idle d1 e1 f1 g1", "h", "c1"},
		{"all full, idle of two addresses", "a1:idle b1 b2:idle c1 d1 e1 f1 g1", "h", "b2"},
		{"all full, the largest being served", "a1 b1:serving b2:serving c1 d1 e1 f1 g1", "h", "b1"},
		{"all being served", "a1:serving b1:serving c1:serving d1:serving e1:serving f1:serving g1:serving h1:serving", "i", refused},
		{"all being served, two of one address", "a1:serving a2:serving b1:serving b2:serving c1:serving c2:serving d1:serving d2:serving", "i", "a1"},
		{"all being served, but one's share is used", "a1:serving a2:serving b1:serving b2:serving c1:serving c2:serving d1:serving e1:serving", "e", refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := bound(nil, 8, nil)
			address := func(name string) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, name[0]}) }
			names := make(map[*boundedConn]string)
			for _, text := range strings.Fields(tt.open) {
				name, state, _ := strings.Cut(text, ":")
				c := &boundedConn{listener: l, from: address(name)}
				if replaced, ok := l.admit(c); replaced != nil || !ok {
					t.Fatalf("no room for %s", name)
				}
				c.state = map[string]connState{"": receiving, "serving": serving, "idle": idle}[state]
				names[c] = name
			}
			replaced, ok := l.admit(&boundedConn{listener: l, from: address(tt.from)})
			got := names[replaced]
			if !ok {
				got = refused
			}
			if got != tt.expect {
				t.Errorf("got %q, want %q", got, tt.expect)
			}
			if l.conns.Len() > l.max {
				t.Errorf("%d connections are open", l.conns.Len())
			}
		})
	}
}

// A connection counts until it is closed, and once.
func TestClosed(t *testing.T) {
	l := bound(nil, 8, nil)
	for range 3 {
		here, there := net.Pipe()
		defer there.Close()
		c := &boundedConn{Conn: here, listener: l}
		l.admit(c)
		c.enter(serving)
		c.Close()
		c.Close()
		c.enter(idle)
	}
	if l.conns.Len() != 0 || len(l.open) != 0 {
		t.Errorf("%d connections, %v", l.conns.Len(), l.open)
	}
}
