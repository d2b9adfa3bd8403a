package offer

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
)

// A look that fails is told, and changes nothing of what is offered.
func TestWatch(t *testing.T) {
	root := nodetest.Tree{
		"sys/devices/system/node/node0/x86/sgx_total_bytes": "67108864\n",
		"dev/sgx_enclave": nodetest.Device,
	}.Make(t)
	sections := filepath.Join(root, "sys/devices/system/node")

	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var looks []bool
		var offers []Offer
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- Policy{}.Watch(ctx, node.Machine{Sysroot: root}, slog.New(slog.NewTextHandler(&log, nil)),
				func(err error) { looks = append(looks, err == nil) },
				func(_ node.Inventory, o Offer) error { offers = append(offers, o); return nil })
		}()
		look := func() {
			time.Sleep(lookInterval)
			synctest.Wait()
		}
		synctest.Wait()
		nodetest.Put(t, filepath.Join(sections, "node1/x86/sgx_total_bytes"), "many")
		look()
		look()
		nodetest.Put(t, filepath.Join(sections, "node1/x86/sgx_total_bytes"), "67108864\n")
		look()
		look()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}

		if diff := cmp.Diff([]bool{true, false, true}, looks); diff != "" {
			t.Errorf("looks: %s", diff)
		}
		if diff := cmp.Diff([]Offer{{Way: Devices, MiB: 64}, {Way: Devices, MiB: 128}}, offers); diff != "" {
			t.Errorf("offers: %s", diff)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "not a number of bytes") {
			t.Errorf("log: %s", &log)
		}
	})
}
