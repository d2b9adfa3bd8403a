package soak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"net"
)

// floorTask is the task of a minimal server, the floor of the comparison.
type floorTask struct {
	Socket string
	Reply  []byte // to every request
	Signs  bool   // make a P-256 signature for each request
}

// floorServer accepts, reads once, writes once and closes, with a goroutine for each
// connection. A server cannot do less.
func floorServer(_ context.Context, task floorTask) (func(context.Context) struct{}, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", task.Socket)
	if err != nil {
		return nil, err
	}
	serve := func(conn net.Conn) {
		defer conn.Close()
		buffer := make([]byte, 4<<10)
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if task.Signs {
			hash := sha256.Sum256(buffer[:n])
			if _, err := ecdsa.SignASN1(rand.Reader, key, hash[:]); err != nil {
				return
			}
		}
		_, _ = conn.Write(task.Reply) // the client notices
	}
	return func(ctx context.Context) (none struct{}) {
		defer context.AfterFunc(ctx, func() { listener.Close() })()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return none // the listener was closed
			}
			go serve(conn)
		}
	}, nil
}
