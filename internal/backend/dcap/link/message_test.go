package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/confcom/confcom/aesm"
	"github.com/confcom/confcom/internal/backend/dcap/quote3"
	"github.com/confcom/confcom/sgx"
)

// body returns a message without its length.
func body(message []byte) []byte { return message[headerSize:] }

func TestRequestMessages(t *testing.T) {
	for _, c := range []struct {
		name    string
		request request
		size    int
	}{
		{"initialize", request{kind: kindInitialize}, 5},
		{"quote", newQuoteRequest(testReport(7), nil), 437},
		{"challenge", newQuoteRequest(testReport(7), testChallenge()), 965},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := appendRequest(nil, c.request)
			if len(message) != c.size || int(binary.LittleEndian.Uint32(message)) != c.size-headerSize || len(body(message)) > maxRequest {
				t.Errorf("%d bytes, want %d: %x", len(message), c.size, message[:5])
			}
			if got, err := parseRequest(body(message)); err != nil || got != c.request {
				t.Errorf("got %+v, %v", got, err)
			}
			for _, wrong := range [][]byte{body(message)[:len(body(message))-1], append(bytes.Clone(body(message)), 0)} {
				if _, err := parseRequest(wrong); err == nil {
					t.Errorf("a request of %d bytes is not refused", len(wrong))
				}
			}
		})
	}
}

func TestReplyMessages(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for _, c := range []struct {
		name  string
		asked kind
		reply reply
		size  int
		want  error // its text; nil means none
	}{
		{"identity", kindInitialize, reply{identity: testIdentity()}, 5 + 512 + 32 + 4, nil},
		{"quote", kindQuote, reply{quoted: aesm.Quoted{Quote: []byte("quote")}}, 5 + 5, nil},
		{"longest quote", kindQuote, reply{quoted: aesm.Quoted{Quote: make([]byte, aesm.MaxQuoteSize)}}, 5 + aesm.MaxQuoteSize, nil},
		{"too long a quote", kindQuote, reply{quoted: aesm.Quoted{Quote: make([]byte, aesm.MaxQuoteSize+1)}}, 5 + 42, &FailureError{"the quote has 32769 bytes, more than 32768"}},
		{"challenged", kindChallenge, reply{quoted: aesm.Quoted{Quote: []byte("quote"), QEReport: testReport(1)}}, 5 + 432 + 5, nil},
		{"library error", kindQuote, reply{err: quote3.NetworkError}, 5 + 4, quote3.NetworkError},
		{"explained library error", kindQuote, reply{err: fmt.Errorf("no route: %w", quote3.NetworkError)}, 5 + 4 + 39, &LibraryError{quote3.NetworkError, "no route: SGX_QL_NETWORK_ERROR (0xe019)"}},
		{"long library error", kindQuote, reply{err: fmt.Errorf("%s: %w", long, quote3.NetworkError)}, 5 + 4 + maxText, &LibraryError{quote3.NetworkError, long[:maxText]}},
		{"unknown library error", kindQuote, reply{err: quote3.Error(42)}, 5 + 16, &FailureError{"unknown (0x002a)"}},
		{"failure", kindInitialize, reply{err: errors.New("no library")}, 5 + 10, &FailureError{"no library"}},
		{"long failure", kindInitialize, reply{err: errors.New(long)}, 5 + maxText, &FailureError{long[:maxText]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := appendReply(nil, c.asked, c.reply)
			if len(message) != c.size || int(binary.LittleEndian.Uint32(message)) != c.size-headerSize || len(body(message)) > maxReply {
				t.Errorf("%d bytes, want %d", len(message), c.size)
			}
			got, err := parseReply(c.asked, body(message))
			if (err == nil) != (c.want == nil) || err != nil && err.Error() != c.want.Error() {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err == nil && (got.identity != c.reply.identity || !bytes.Equal(got.quoted.Quote, c.reply.quoted.Quote) || got.quoted.QEReport != c.reply.quoted.QEReport) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What is not exactly a reply to the request is refused.
func TestMalformedReplies(t *testing.T) {
	identity := body(appendReply(nil, kindInitialize, reply{identity: testIdentity()}))
	noSize := bytes.Clone(identity)
	clear(noSize[len(noSize)-4:])
	for _, c := range []struct {
		name    string
		asked   kind
		message []byte
		want    string
	}{
		{"nothing", kindInitialize, nil, "no kind"},
		{"other kind", kindQuote, identity, "reply of kind 1 to a request of kind 2"},
		{"unknown kind", kindQuote, []byte{9}, "reply of kind 9"},
		{"short identity", kindInitialize, identity[:len(identity)-1], "identity of 547 bytes, want 548"},
		{"long identity", kindInitialize, append(bytes.Clone(identity), 0), "identity of 549 bytes, want 548"},
		{"quotes of no size", kindInitialize, noSize, "quote size of 0 bytes"},
		{"no quote", kindQuote, []byte{byte(kindQuote)}, "quote of 0 bytes"},
		{"no report", kindChallenge, []byte{byte(kindChallenge), 1}, "1 bytes, less than a report"},
		{"a report without a quote", kindChallenge, append([]byte{byte(kindChallenge)}, make([]byte, sgx.ReportSize)...), "quote of 0 bytes"},
		{"short error", kindQuote, []byte{byte(kindLibraryError), 1, 2, 3}, "library error of 3 bytes"},
		{"long library error", kindQuote, append([]byte{byte(kindLibraryError), 0x19, 0xe0, 0, 0}, make([]byte, maxText+1)...), "library error of 1029 bytes"},
		{"success is no error", kindQuote, []byte{byte(kindLibraryError), 0, 0, 0, 0}, "error code 0x0"},
		{"unknown error", kindQuote, []byte{byte(kindLibraryError), 0, 0xe1, 0, 0}, "error code 0xe100"},
		{"long text", kindQuote, append([]byte{byte(kindFailure)}, make([]byte, maxText+1)...), "text of 1025 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseReply(c.asked, c.message)
			if _, ok := errors.AsType[*MessageError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// FuzzRequest checks that what parses as a request is what is sent for it.
func FuzzRequest(f *testing.F) {
	for _, r := range []request{{kind: kindInitialize}, newQuoteRequest(testReport(7), nil), newQuoteRequest(testReport(7), testChallenge())} {
		f.Add(body(appendRequest(nil, r)))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := parseRequest(message)
		if err != nil {
			return
		}
		if again := body(appendRequest(nil, r)); !bytes.Equal(again, message) {
			t.Errorf("%x\nis sent as\n%x", message, again)
		}
	})
}

// FuzzReply checks that what parses as a reply is what is sent for it, and that
// reading it from a connection allocates no more than the limit.
func FuzzReply(f *testing.F) {
	for k, r := range map[kind]reply{
		kindInitialize:   {identity: testIdentity()},
		kindQuote:        {quoted: aesm.Quoted{Quote: []byte("quote")}},
		kindChallenge:    {quoted: aesm.Quoted{Quote: []byte("quote"), QEReport: testReport(1)}},
		kindLibraryError: {err: quote3.NetworkError},
		kindFailure:      {err: errors.New("no library")},
		kindQuote + 8:    {err: fmt.Errorf("no route: %w", quote3.NetworkError)},
	} {
		f.Add(byte(k), appendReply(nil, k, r))
	}
	f.Fuzz(func(t *testing.T, k byte, stream []byte) {
		message, err := readMessage(bytes.NewReader(stream), maxReply)
		if err != nil {
			return
		}
		if len(message) > maxReply {
			t.Fatalf("%d bytes, more than %d", len(message), maxReply)
		}
		asked := kind(k)
		if asked < kindInitialize || asked > kindChallenge {
			asked = kindQuote
		}
		r, err := parseReply(asked, message)
		if _, ok := errors.AsType[*MessageError](err); ok {
			return
		}
		r.err = err
		if failure, ok := errors.AsType[*FailureError](err); ok {
			r.err = errors.New(failure.Text)
		}
		if again := body(appendReply(nil, asked, r)); !bytes.Equal(again, message) {
			t.Errorf("%x\nis sent as\n%x", message, again)
		}
	})
}
