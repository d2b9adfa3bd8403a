package epc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/confcom/confcom/internal/node"
	"github.com/confcom/confcom/internal/node/nodetest"
)

// A look that fails is told, and changes nothing of what is offered. A change
// that could not be acted on is told, too, and tried again.
func TestWatch(t *testing.T) {
	root := nodetest.Tree{
		"sys/devices/system/node/node0/x86/sgx_total_bytes": "67108864\n",
		"dev/sgx_enclave": nodetest.Device,
	}.Make(t)
	sections := filepath.Join(root, "sys/devices/system/node")

	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var looks []bool
		var offers []Capacity
		ctx, stop := context.WithCancel(t.Context())
		var full atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			Policy{}.Watch(ctx, node.Machine{Sysroot: root}, slog.New(slog.NewTextHandler(&log, nil)),
				func(err error) { looks = append(looks, err == nil) },
				func(_ node.Inventory, o Capacity) error {
					offers = append(offers, o)
					if full.Load() {
						return errors.New("the disk is full")
					}
					return nil
				})
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
		full.Store(true)
		nodetest.Put(t, filepath.Join(sections, "node2/x86/sgx_total_bytes"), "67108864\n")
		look()
		look()
		full.Store(false)
		look()
		look()
		stop()
		<-done

		if diff := cmp.Diff([]bool{true, false, true, false, false, true}, looks); diff != "" {
			t.Errorf("looks: %s", diff)
		}
		three := Capacity{Mode: Devices, MiB: 192}
		if diff := cmp.Diff([]Capacity{{Mode: Devices, MiB: 64}, {Mode: Devices, MiB: 128}, three, three, three}, offers); diff != "" {
			t.Errorf("offers: %s", diff)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "not a number of bytes") || !strings.Contains(log.String(), "the disk is full") {
			t.Errorf("log: %s", &log)
		}
	})
}
