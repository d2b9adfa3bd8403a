package peer_test

import (
	"context"
	"log"
	"log/slog"
	"net"
	"os/signal"
	"syscall"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/peer"
)

func ExampleIdentifier() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	identifier := peer.NewIdentifier(slog.Default(), peer.Options{})
	defer identifier.Close()

	var service aesm.Handler // such as a quoting.Service
	server := aesm.Server{
		Handler:  service,
		Identify: func(conn net.Conn) aesm.Peer { return identifier.Identify(conn) },
		Observe: func(ctx context.Context, e aesm.Exchange) {
			slog.InfoContext(ctx, "answered", "request", e.Kind, "peer", e.Peer)
		},
	}
	listener, err := aesm.Listen(aesm.DefaultSocket)
	if err != nil {
		log.Fatal(err)
	}
	if err := server.Serve(ctx, listener); err != nil {
		log.Fatal(err)
	}
}
