package certificates

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// ParsePCKID reads what Intel's PCKIDRetrievalTool writes, by default to
// pckid_retrieval.csv: the identity of a platform, as a line of fields in hexadecimal.
// What follows them, the manifest of a multi-package platform, is for its registration.
func ParsePCKID(text []byte) (Query, error) {
	q := Query{EncryptedPPID: make([]byte, 384)}
	var pceID, pceSVN [2]byte // little-endian
	fields := bytes.Split(bytes.TrimSpace(text), []byte(","))
	for i, f := range []struct {
		name string
		into []byte
	}{
		{"encrypted PPID", q.EncryptedPPID}, {"PCE ID", pceID[:]}, {"CPUSVN", q.ID.CPUSVN[:]}, {"PCE SVN", pceSVN[:]}, {"QE ID", q.ID.QEID[:]},
	} {
		if i >= len(fields) {
			return Query{}, fmt.Errorf("no %s: %d fields, want at least 5, separated by commas", f.name, len(fields))
		}
		if len(fields[i]) != hex.EncodedLen(len(f.into)) {
			return Query{}, fmt.Errorf("%s: %d characters, want %d hexadecimal digits", f.name, len(fields[i]), hex.EncodedLen(len(f.into)))
		}
		if _, err := hex.Decode(f.into, fields[i]); err != nil {
			return Query{}, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	q.ID.PCEID, q.ID.PCESVN = binary.LittleEndian.Uint16(pceID[:]), binary.LittleEndian.Uint16(pceSVN[:])
	return q, nil
}
