package aesm

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Limits in bytes. A frame is the length of a message as a little-endian uint32,
// followed by the message; the limits apply to the message.
const (
	// MaxRequestFrame is the largest request that a Server reads: more than 20 times
	// the largest sensible one.
	MaxRequestFrame = 64 << 10
	// MaxBufferSize is the largest buffer for a quote that a client may announce, and so
	// the largest quote in a reply, with its padding. Every reply fits into the buffer of
	// a socket.
	MaxBufferSize = 64 << 10
	// MaxQuoteSize is the largest quote. A quote has less than 14 KiB.
	MaxQuoteSize = 32 << 10

	// maxReplyFrame leaves room for the fields around the quote.
	maxReplyFrame = MaxBufferSize + 4<<10

	headerSize = 4
)

// frame returns m with its header, for a single write: Intel's client misreads
// frames whose parts arrive in quick succession.
func frame(m proto.Message) ([]byte, error) { return appendFrame(nil, m) }

// appendFrame appends the frame of m.
func appendFrame(b []byte, m proto.Message) ([]byte, error) {
	start := len(b)
	b, err := (proto.MarshalOptions{AllowPartial: true}).MarshalAppend(append(b, make([]byte, headerSize)...), m)
	if err != nil {
		return nil, fmt.Errorf("aesm: encode: %w", err)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-headerSize))
	return b, nil
}

// readHeader reads the length of the message that follows.
func readHeader(r io.Reader) (uint32, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(header[:]), nil
}

// readBody reads a message of size bytes, which it allocates at once: the caller has
// checked size.
func readBody(r io.Reader, size uint32) ([]byte, error) {
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body, nil
}
