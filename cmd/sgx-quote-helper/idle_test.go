package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/confcom/confcom/internal/daemon"
	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
)

func TestIdle(t *testing.T) {
	for _, tt := range []struct {
		name string
		tree nodetest.Tree
		want bool
		log  string
	}{
		{"no SGX", nodetest.Tree{node.CPUIDDump: "0x00000007 0x00: eax=0x0 ebx=0x0 ecx=0x0 edx=0x0"}, true, "no SGX, serving no quotes"},
		{"processor is not known", nil, false, ""},
		{"unreadable", nodetest.Tree{node.CPUIDDump: "?"}, false, "discover SGX failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := tt.tree.Make(t)
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				env := &daemon.Environment{Log: slog.New(slog.NewTextHandler(&log, nil))}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				idled := make(chan bool, 1)
				go func() { idled <- idle(ctx, node.Machine{Sysroot: root}, env) }()
				synctest.Wait()
				if waits := len(idled) == 0; waits != tt.want {
					t.Errorf("waits: %t, want %t", waits, tt.want)
				}
				cancel()
				if got := <-idled; got != tt.want || !strings.Contains(log.String(), tt.log) {
					t.Errorf("idled: %t, want %t; log: %s", got, tt.want, &log)
				}
			})
		})
	}
}
