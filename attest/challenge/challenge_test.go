package challenge

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

// The report data is what the package comment says, byte for byte.
func TestReportData(t *testing.T) {
	for _, c := range []struct{ nonce, data, want string }{
		// printf 'confcom-challenge-v1\0\0\0\0\0\0\0\010noncenon\0\0\0\0\0\0\0\0' | sha256sum
		{"noncenon", "", "85a3cb6fa7472474a44339292e76784c3c5838e63474e897f9ef3e3e9cd57673"},
		// printf 'confcom-challenge-v1\0\0\0\0\0\0\0\010noncenon\0\0\0\0\0\0\0\003key' | sha256sum
		{"noncenon", "key", "63e63c341839028a7704c2be01dbecb2037aeed4c3c5fc4ec7951310a1824176"},
	} {
		got := ReportData([]byte(c.nonce), []byte(c.data))
		if !bytes.Equal(got[32:], make([]byte, 32)) || hex.EncodeToString(got[:32]) != c.want {
			t.Errorf("%q, %q: %s, want %s", c.nonce, c.data, got, c.want)
		}
	}
	// What is moved from the nonce to the data, or the reverse, is something else.
	if ReportData([]byte("noncenonce"), []byte("key")) == ReportData([]byte("noncenon"), []byte("cekey")) {
		t.Error("two challenges have the same report data")
	}
}

func newIssuer(t *testing.T, keys ...[]byte) *Issuer {
	t.Helper()
	i, err := NewIssuer(time.Minute, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCheck(t *testing.T) {
	one, two := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		issuer *Issuer // of the nonce
		change func(Nonce) Nonce
		after  time.Duration
		want   error
	}{
		{name: "new"},
		{name: "at its end", after: time.Minute},
		{name: "after its end", after: time.Minute + 1, want: ErrExpired},
		{name: "long after its end", after: 1 << 62, want: ErrExpired},
		{name: "by a clock that is ahead", after: -time.Minute},
		{name: "by a clock that is far ahead", after: -time.Minute - 1, want: ErrForeign},
		{name: "of an issuer with the same key", issuer: newIssuer(t, one)},
		{name: "of one that changes to the other key", issuer: newIssuer(t, two, one)},
		{name: "of one with another key", issuer: newIssuer(t, bytes.Repeat([]byte{3}, 32)), want: ErrForeign},
		{name: "of one with its own key", issuer: newIssuer(t), want: ErrForeign},
		{name: "empty", change: func(Nonce) Nonce { return nil }, want: ErrForeign},
		{name: "shorter", change: func(n Nonce) Nonce { return n[:47] }, want: ErrForeign},
		{name: "longer", change: func(n Nonce) Nonce { return append(n, 0) }, want: ErrForeign},
		{name: "zero", change: func(Nonce) Nonce { return make(Nonce, 48) }, want: ErrForeign},
	} {
		checks := newIssuer(t, one, two)
		if c.issuer == nil {
			c.issuer = checks
		}
		nonce := c.issuer.Issue(now)
		if c.change != nil {
			nonce = c.change(nonce)
		}
		if err := checks.Check(nonce, now.Add(c.after)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	issuer := newIssuer(t)
	nonce := issuer.Issue(now)
	for i := range len(nonce) * 8 {
		changed := bytes.Clone(nonce)
		changed[i/8] ^= 1 << (i % 8)
		if err := issuer.Check(changed, now); !errors.Is(err, ErrForeign) {
			t.Errorf("bit %d changed: %v", i, err)
		}
	}
	if other := issuer.Issue(now); bytes.Equal(nonce, other) {
		t.Error("two nonces are the same")
	}
}

func TestNewIssuer(t *testing.T) {
	if _, err := NewIssuer(0); err == nil {
		t.Error("nonces that are not valid at all are accepted")
	}
	if _, err := NewIssuer(time.Minute, make([]byte, 32), make([]byte, 31)); err == nil {
		t.Error("a short key is accepted")
	}
	key := bytes.Repeat([]byte{1}, 32)
	issuer := newIssuer(t, key)
	nonce := issuer.Issue(time.Unix(0, 0))
	key[0]++ // the caller's
	if err := issuer.Check(nonce, time.Unix(0, 0)); err != nil {
		t.Errorf("the issuer shares the caller's key: %v", err)
	}
}

func FuzzNonce(f *testing.F) {
	f.Add("AAAAAAAAAAA")
	f.Add(strings.Repeat("A", 64))
	f.Add("AAAAAAAAAAB")
	f.Add("AAAA AAAAAAA=")
	issuer, err := NewIssuer(time.Minute)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var nonce Nonce
		if err := nonce.UnmarshalText([]byte(text)); err != nil {
			if nonce != nil {
				t.Errorf("an error, and a nonce: %s", nonce)
			}
			return
		}
		if nonce.String() != text {
			t.Errorf("%q is read as %q", text, nonce)
		}
		if err := issuer.Check(nonce, time.Now()); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", text, err)
		}
	})
}
