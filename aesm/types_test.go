package aesm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/confcom/confcom/aesm/internal/message"
	"github.com/confcom/confcom/sgx"
)

func TestKeyID(t *testing.T) {
	k := IntelQE3KeyID()
	const hash = "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"
	if k.Algorithm() != ECDSAP256 || k.ProdID() != 1 || k.MRSigner().String() != hash {
		t.Errorf("got %s", k)
	}
	if got, want := k.String(), "ECDSA-P256 of QE mrsigner "+hash+" prod 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	other := k
	other[KeyIDBaseSize] = 1
	if other.Base() != k.Base() || other == k {
		t.Error("the base is too long")
	}
	other[KeyIDBaseSize-1] ^= 1
	if other.Base() == k.Base() {
		t.Error("the base is too short")
	}
}

func TestQEReportInfo(t *testing.T) {
	b := make([]byte, QEReportInfoSize)
	for i := range b {
		b[i] = byte(i * 7)
	}
	var info QEReportInfo
	if err := info.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if got, _ := info.MarshalBinary(); !bytes.Equal(got, b) {
		t.Errorf("got %x", got)
	}
	for _, n := range []int{0, QEReportInfoSize - 1, QEReportInfoSize + 1} {
		err := info.UnmarshalBinary(make([]byte, n))
		if _, ok := errors.AsType[*sgx.SizeError](err); !ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestCodes(t *testing.T) {
	if got, want := CodeAttKeyNotInitialized.Error(), "ATT_KEY_NOT_INITIALIZED (42): repeat"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q", got)
	}
	seen := map[string]bool{}
	for c := CodeSuccess; c <= CodeConfigUnsupported; c++ {
		if s := c.String(); seen[s] || s == "" || strings.HasPrefix(s, "Code(") {
			t.Errorf("code %d is %q", uint32(c), s)
		} else {
			seen[s] = true
		}
	}
	if got := Code(99).String(); got != "Code(99)" {
		t.Errorf("got %q", got)
	}
}

// Every kind and reason has a unique name, since the names are labels of metrics.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	unique := func(name string) {
		if seen[name] || name == "" || strings.ContainsAny(name, "( ") {
			t.Errorf("%q is not unique, or not a label", name)
		}
		seen[name] = true
	}
	requests := new(message.Request).ProtoReflect().Descriptor().Fields()
	for i := range requests.Len() {
		if f := requests.Get(i); f.Message() != nil { // Probe is none
			unique(Kind(f.Number()).String())
		}
	}
	for d := NotDropped; d <= DropAccept; d++ {
		unique(d.String())
	}
}

func TestCodeOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Code
	}{
		{nil, CodeSuccess},
		{CodeBusy, CodeBusy},
		{fmt.Errorf("the queue: %w", CodeBusy), CodeBusy},
		{errStub, CodeUnexpected},
		{CodeSuccess, CodeUnexpected},
		{context.DeadlineExceeded, CodeUnexpected},
		{fmt.Errorf("cut off: %w", context.Canceled), CodeServiceStopped},
		{fmt.Errorf("%w: %w", context.Canceled, CodeNetwork), CodeNetwork},
	} {
		if got := codeOf(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
