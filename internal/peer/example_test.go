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
	identifier := peer.NewIdentifier(slog.Default())
	defer identifier.Close()

	var service aesm.Handler // such as a quoting.Service
	server := aesm.Server{
		Handler: service,
		// The service, too, finds out from its context for whom it works.
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return peer.NewContext(ctx, identifier.Identify(conn))
		},
		Observe: func(ctx context.Context, e aesm.Exchange) {
			slog.InfoContext(ctx, "answered", "request", e.Kind, "peer", peer.FromContext(ctx))
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
