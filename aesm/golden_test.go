package aesm

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/confcom/confcom/aesm/internal/message"
)

// golden returns a frame recorded between an unmodified client and Intel's daemon.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "vectors", "aesm-golden")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("THE RECORDED AESM EXCHANGES ARE NOT TESTED: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenExchanges returns the recordings of both request and reply.
func goldenExchanges() []struct {
	name string
	kind Kind
} {
	return []struct {
		name string
		kind Kind
	}{
		{"intel/01", KindGetSupportedAttKeyIDNum},
		{"intel/02", KindGetSupportedAttKeyIDs},
		{"intel/03", KindSelectAttKeyID},
		{"intel/04", KindInitQuoteEx},
		{"intel/05", KindInitQuoteEx},
		{"intel/06", KindGetQuoteSizeEx},
		{"intel/07", KindGetQuoteEx},
		{"gramine/01", KindInitQuoteEx},
		{"gramine/02", KindGetQuoteEx},
	}
}

func TestGoldenRoundTrip(t *testing.T) {
	for _, g := range goldenExchanges() {
		t.Run(g.name, func(t *testing.T) {
			for suffix, m := range map[string]proto.Message{".req": new(message.Request), ".res": new(message.Response)} {
				want := golden(t, g.name+suffix)
				if err := proto.Unmarshal(want[headerSize:], m); err != nil {
					t.Fatal(err)
				}
				if unknown := m.ProtoReflect().GetUnknown(); len(unknown) > 0 {
					t.Errorf("%s: unknown fields %x", suffix, unknown)
				}
				if _, ok := field(m, g.kind); !ok {
					t.Errorf("%s is not a %s", suffix, g.kind)
				}
				got, err := frame(m)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s\n got %s\nwant %s", suffix, shorten(got), shorten(want))
				}
			}
		})
	}
}

// TestGoldenServed sends the recorded requests to our server. With a handler that
// returns what Intel's quoting returned, the replies must be the recorded ones.
func TestGoldenServed(t *testing.T) {
	reply := func(t *testing.T, name string) *message.Response {
		res := new(message.Response)
		if err := proto.Unmarshal(golden(t, name+".res")[headerSize:], res); err != nil {
			t.Fatal(err)
		}
		return res
	}
	for _, g := range goldenExchanges() {
		t.Run(g.name, func(t *testing.T) {
			h := newStub()
			h.keys = []KeyID{KeyID(reply(t, "intel/02").GetSupportedAttKeyIds.AttKeyIds)}
			init := reply(t, "intel/05").InitQuoteEx
			if err := h.ready.TargetInfo.UnmarshalBinary(init.TargetInfo); err != nil {
				t.Fatal(err)
			}
			h.ready.PublicKeyID = [PublicKeyIDSize]byte(init.PubKeyId)
			h.size = int(reply(t, "intel/06").GetQuoteSizeEx.GetQuoteSize())
			if g.kind == KindGetQuoteEx {
				// Gramine's larger buffer holds the same quote and zeros.
				h.quote = reply(t, g.name).GetQuoteEx.Quote[:h.size]
			}

			path, seen := start(t, &Server{Handler: h})
			conn := dialUnix(t, path)
			if _, err := conn.Write(golden(t, g.name+".req")); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if want := golden(t, g.name+".res"); !bytes.Equal(got, want) {
				t.Errorf("reply\n got %s\nwant %s", shorten(got), shorten(want))
			}
			if e := <-seen; e.Kind != g.kind || e.Code != CodeSuccess || e.Drop != NotDropped {
				t.Errorf("exchange: %+v", e)
			}
		})
	}
}

func TestGoldenKeyID(t *testing.T) {
	ids := golden(t, "intel/02.res")
	if got := KeyID(ids[len(ids)-KeyIDSize:]); got != IntelQE3KeyID() {
		t.Errorf("Intel's daemon has key %s, want IntelQE3KeyID", got)
	}
}
