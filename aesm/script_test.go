package aesm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/confcom/confcom/sgx"
)

// The scripts in testdata are conversations with a server. Each scenario has a title,
// what the handler does, what the client sends and what it receives:
//
//	= a size probe
//	> 7a( 0a( key ) 1800 )
//	< 7a( 0800 12( 00*512 ) 1820 )
//
// ">" and "<" are frames, without their length word. ">>" and "<<" are
// raw bytes. "closed REASON" is a connection closed without a reply. Bytes are hex
// digits or a name of scriptNames; "x*n" repeats, and "( )" prefixes its content with
// the length, as protobuf does.
//
// The handler has one key and a quote of 1000 bytes. "handler FIELD VALUE"
// changes that; see setHandler.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.script")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq("\n"+string(text), "\n= ") {
			title, body, _ := strings.Cut(part, "\n")
			if strings.HasPrefix(strings.TrimSpace(part), "#") || strings.TrimSpace(body) == "" {
				continue // before the first scenario
			}
			t.Run(strings.TrimSuffix(filepath.Base(file), ".script")+"/"+title, func(t *testing.T) {
				runScenario(t, body)
			})
		}
	}
}

func runScenario(t *testing.T, body string) {
	h := newStub()
	var request, want []byte
	reason := NotDropped
	for line := range strings.Lines(body) {
		line, _, _ = strings.Cut(line, "#")
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "":
		case "handler":
			setHandler(t, h, strings.Fields(rest))
		case ">":
			request = framed(scriptBytes(t, rest))
		case ">>":
			request = scriptBytes(t, rest)
		case "<":
			want = framed(scriptBytes(t, rest))
		case "<<":
			want = scriptBytes(t, rest)
		case "closed":
			for reason = NotDropped; reason.String() != rest; reason++ {
				if reason > DropAccept {
					t.Fatalf("unknown reason: %s", rest)
				}
			}
		default:
			t.Fatalf("unknown verb: %s", verb)
		}
	}

	path, seen := start(t, &Server{Handler: h})
	conn := dialUnix(t, path)
	// The server may have closed its end already, if it has read enough.
	_, writeErr := conn.Write(request)
	if err := conn.CloseWrite(); err != nil && writeErr == nil {
		t.Fatal(err)
	}
	// The reply is followed by the end, or by a reset if the server has left bytes
	// unread.
	got, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("reply\n got %s\nwant %s", shorten(got), shorten(want))
	}
	if e := <-seen; e.Drop != reason {
		t.Errorf("exchange: %+v, want drop %s", e, reason)
	}
}

func setHandler(t *testing.T, h *stub, words []string) {
	value := 0
	if len(words) == 2 {
		value, _ = strconv.Atoi(words[1])
	}
	code := fmt.Errorf("stub: %w", Code(value))
	switch words[0] {
	case "no-keys":
		h.keys = nil
	case "two-keys": // the default, and one of another signer and algorithm
		other := ECDSAKeyID(sgx.Measurement{0xee})
		other[offKeyIDAlgorithm] = byte(ECDSAP384)
		h.keys = append(h.keys, other)
	case "keys-error":
		h.keysErr = code
	case "init-error":
		h.initErr = code
	case "size-error":
		h.sizeErr = code
	case "quote-error":
		h.quoteErr = code
	case "untyped-error":
		h.keysErr = errStub
	case "size":
		h.size = value
	case "backend": // with the PCE SVN of its certificate, or without one
		h.ready.Backend = Backend{Kind: "dcap"}
		if len(words) == 2 {
			h.ready.Backend = testBackend(uint16(value))
		}
	case "quote":
		h.quote = fakeQuote(value)
	case "panic":
		h.onQuote = func(context.Context, Caller) { panic("stub") }
	default:
		t.Fatalf("unknown handler field: %s", words[0])
	}
}

// scriptNames returns the bytes that scripts refer to by name.
func scriptNames() map[string][]byte {
	key := IntelQE3KeyID()
	mine := key // the same key, with an application's bytes after the base
	for i := KeyIDBaseSize; i < KeyIDSize; i++ {
		mine[i] = 0x77
	}
	other := ECDSAKeyID(sgx.Measurement{0xee})
	other[offKeyIDAlgorithm] = byte(ECDSAP384)
	stranger := ECDSAKeyID(sgx.Measurement{0x11})
	info, _ := QEReportInfo{Challenge: Challenge{Nonce: [NonceSize]byte{1, 2, 3}}}.MarshalBinary()
	return map[string][]byte{
		"key": key[:], "mine": mine[:], "other": other[:], "stranger": stranger[:],
		"report": bytes.Repeat([]byte{0x33}, sgx.ReportSize),
		"info":   info,
		"quote":  fakeQuote(1000),
	}
}

func scriptBytes(t testing.TB, text string) []byte {
	t.Helper()
	stack := [][]byte{nil}
	push := func(b []byte) { stack[len(stack)-1] = append(stack[len(stack)-1], b...) }
	for _, word := range strings.Fields(text) {
		if word == ")" {
			inner := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			push(binary.AppendUvarint(nil, uint64(len(inner))))
			push(inner)
			continue
		}
		word, opens := strings.CutSuffix(word, "(")
		what, times, _ := strings.Cut(word, "*")
		b, named := scriptNames()[what]
		if !named {
			var err error
			if b, err = hex.DecodeString(what); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
		}
		n := 1
		if times != "" {
			n, _ = strconv.Atoi(times)
		}
		push(bytes.Repeat(b, n))
		if opens {
			stack = append(stack, nil)
		}
	}
	if len(stack) != 1 {
		t.Fatalf("unbalanced: %s", text)
	}
	return stack[0]
}

func framed(body []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func shorten(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%x...%x (%d bytes)", b[:32], b[len(b)-32:], len(b))
	}
	return fmt.Sprintf("%x (%d bytes)", b, len(b))
}
