package quote_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/confcom/confcom/quote"
)

func TestTrim(t *testing.T) {
	made := make([]byte, quote.OffsetSignatureData+10)
	binary.LittleEndian.PutUint32(made[quote.OffsetSignatureDataLen:], 10)
	tooLong := bytes.Clone(made)
	binary.LittleEndian.PutUint32(tooLong[quote.OffsetSignatureDataLen:], 0xffffffff)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"exact", made, nil},
		{"padded", append(bytes.Clone(made), 0, 1, 2), nil},
		{"one byte short", made[:len(made)-1], quote.ErrTruncated},
		{"without the length", made[:quote.OffsetSignatureDataLen+3], quote.ErrTruncated},
		{"empty", nil, quote.ErrTruncated},
		{"a length of 4 GiB", tooLong, quote.ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := quote.Trim(c.data)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (!bytes.Equal(got, made) || cap(got) != len(made)) {
				t.Errorf("got %d bytes with room for %d, want %d", len(got), cap(got), len(made))
			}
		})
	}
}
