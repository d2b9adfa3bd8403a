package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// webHeld is how many connections an attack on a port for HTTP holds.
const webHeld = 200

// slowBodies announces quotes to the verifier and does not send them.
func (h *hostile) slowBodies(ctx context.Context, _ *rand.Rand) {
	h.holdWeb(ctx, "body not sent", h.Verifier, "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 5000\r\n\r\n")
}

// slowHeaders sends a part of a large header to a port for health and metrics.
func (h *hostile) slowHeaders(ctx context.Context, _ *rand.Rand) {
	header := make([]byte, 100<<10)
	for i := range header {
		header[i] = 'a'
	}
	h.holdWeb(ctx, "header not finished", h.Health, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: "+string(header))
}

// keepAlive leaves connections open after a request.
func (h *hostile) keepAlive(ctx context.Context, _ *rand.Rand) {
	for _, address := range []string{h.Verifier, h.Health} {
		h.holdWeb(ctx, "kept alive", address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	}
}

// nonsense sends the verifier what is no quote.
func (h *hostile) nonsense(ctx context.Context, r *rand.Rand) {
	for _, contentType := range []string{"application/octet-stream", "application/json", "text/plain"} {
		body := noise(r, 1+r.IntN(6000))
		conn := h.connectWeb(ctx, "no quote", h.Verifier)
		if conn == nil {
			return
		}
		_, _ = fmt.Fprintf(conn, "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
		_ = conn.SetReadDeadline(time.Now().Add(shortRest))
		_, _ = conn.Read(make([]byte, 1000))
		conn.Close()
	}
}

// holdWeb opens connections and sends the same on each.
func (h *hostile) holdWeb(ctx context.Context, kind, address, text string) {
	conns := make([]net.Conn, 0, webHeld)
	for range webHeld {
		if conn := h.connectWeb(ctx, kind, address); conn != nil {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte(text)) // the connection may have been replaced
			conns = append(conns, conn)
		}
	}
	rest(ctx, holdTime)
	for _, conn := range conns {
		conn.Close()
	}
}

// connectWeb opens a connection for HTTP and counts it. An error is no fault: when there are
// too many, the system refuses some.
func (h *hostile) connectWeb(ctx context.Context, kind, address string) net.Conn {
	d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, h.Address)}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		rest(ctx, shortRest)
		return nil
	}
	h.count("HTTP: " + kind)
	return conn
}
