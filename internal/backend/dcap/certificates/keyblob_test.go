package certificates

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/backend/simulated"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// keyBlob returns the blob of the simulated platform of a node, as Intel's quoting enclave
// makes it, with a secret part of some bytes.
func keyBlob(t testing.TB, node string, secret int) []byte {
	t.Helper()
	platform, err := simulated.New(node)
	if err != nil {
		t.Fatal(err)
	}
	initialized, err := platform.InitQuote(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	report, err := simulation.DefaultCPU().Report(sgx.ReportBody{}, initialized.TargetInfo)
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := platform.Quote(context.Background(), report, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := quote.Parse(quoted.Quote)
	if err != nil {
		t.Fatal(err)
	}
	blob := make([]byte, blobPayload+secret+textSize)
	binary.LittleEndian.PutUint32(blob[blobTextOffset:], uint32(secret))
	text := blob[blobPayload+secret:]
	qeReport, err := q.Signature.QEReport.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	copy(text[textQEReport:], qeReport)
	copy(text[textSignature:], q.Signature.QEReportSignature[:])
	copy(text[textKey:], q.Signature.AttestationKey[:])
	copy(text[textKeyID:], q.Signature.QEReport.ReportData[:32])
	binary.LittleEndian.PutUint32(text[textAuthDataSize:], uint32(len(q.Signature.QEAuthData)))
	copy(text[textAuthData:], q.Signature.QEAuthData)
	return blob
}

// The certificates of this platform have its key, others do not.
func TestCheckKey(t *testing.T) {
	for _, secret := range []int{0, 401} {
		k, err := ParseKeyBlob(keyBlob(t, "first", secret))
		if err != nil {
			t.Fatal(err)
		}
		if err := chain(t, "first").CheckKey(k); err != nil {
			t.Error(err)
		}
		if err := chain(t, "second").CheckKey(k); err == nil || !strings.Contains(err.Error(), "another key than this platform has signed with") {
			t.Errorf("another platform: %v", err)
		}
		k.Signature[0] ^= 1
		if err := chain(t, "first").CheckKey(k); err == nil {
			t.Error("another signature is accepted")
		}
		if err := (Data{}).CheckKey(k); err == nil {
			t.Error("no certificates are accepted")
		}
	}
}

// What is not understood in a blob is an error: the certificates are not compared then.
func TestStrangeKeyBlob(t *testing.T) {
	const secret = 10
	const text = blobPayload + secret
	for _, c := range []struct {
		name   string
		change func(blob []byte) []byte
		want   string
	}{
		{"nothing", func([]byte) []byte { return nil }, "has 0 bytes"},
		{"too short", func(b []byte) []byte { return b[:blobPayload+textSize-1] }, "want at least 1783"},
		{"longer", func(b []byte) []byte { return append(b, 0) }, "begins at 10, want 11"},
		{"another offset", func(b []byte) []byte { b[blobTextOffset+3] = 0xff; return b }, "begins at"},
		{"another version", func(b []byte) []byte { b[text+textVersion] = 1; return b }, "version 1"},
		{"another type", func(b []byte) []byte { b[text+textType] = 2; return b }, "type 2"},
		{"more authentication data", func(b []byte) []byte { b[text+textAuthDataSize+3] = 1; return b }, "16777248 bytes of authentication data"},
		{"another key", func(b []byte) []byte { b[text+textKey] ^= 1; return b }, "does not have the hash"},
		{"another key ID", func(b []byte) []byte { b[text+textKeyID] ^= 1; return b }, "does not have the hash"},
		{"a report of another key", func(b []byte) []byte { b[text+textQEReport+reportDataOffset] ^= 1; return b }, "does not have the hash"},
	} {
		_, err := ParseKeyBlob(c.change(keyBlob(t, "first", secret)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// FuzzParseKeyBlob checks that whatever is parsed is what the blob has.
func FuzzParseKeyBlob(f *testing.F) {
	f.Add(keyBlob(f, "first", 0))
	f.Add(keyBlob(f, "first", 401))
	f.Fuzz(func(t *testing.T, blob []byte) {
		k, err := ParseKeyBlob(blob)
		if err == nil && (!bytes.Contains(blob, k.QEReport[:]) || !bytes.Contains(blob, k.Signature[:])) {
			t.Error("not in the blob")
		}
	})
}
