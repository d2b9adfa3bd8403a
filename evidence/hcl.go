package evidence

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// An HCL (Host Compatibility Layer) report is what Azure's paravisor puts into the NV index
// 0x01400001 of a machine's vTPM: a header of 32 bytes, 1184 bytes for the report of the
// hardware (a TDREPORT of 1024 bytes, or an SEV-SNP report), and runtime data. Integers are
// uint32, little-endian. Source: az-cvm-vtpm/src/hcl of kinvolk/azure-cvm-tooling.
const (
	hclSignature     = "HCLA"
	hclReportType    = 32 + 1184 + 8  // offset of the type of the report
	hclHashType      = 32 + 1184 + 12 // of the hash function for the report data
	hclRuntimeSize   = 32 + 1184 + 16 // of the size of the runtime data
	hclRuntime       = 32 + 1184 + 20 // of the runtime data
	hclTypeSNP       = 2
	hclTypeTDX       = 4
	hclHashSHA256    = 1
	hclMaxReportSize = 64 << 10
)

func isHCLReport(data []byte) bool { return bytes.HasPrefix(data, []byte(hclSignature)) }

// hclRuntimeData returns the runtime data in the HCL report of a TDX machine. Zeros follow
// them.
func hclRuntimeData(data []byte) ([]byte, error) {
	if !isHCLReport(data) || len(data) < hclRuntime || len(data) > hclMaxReportSize {
		return nil, fmt.Errorf("%d bytes that are no HCL report", len(data))
	}
	switch kind := binary.LittleEndian.Uint32(data[hclReportType:]); kind {
	case hclTypeTDX:
	case hclTypeSNP:
		return nil, errors.New("the HCL report of an SEV-SNP machine")
	default:
		return nil, fmt.Errorf("HCL report of type %d, want %d (TDX)", kind, hclTypeTDX)
	}
	if hash := binary.LittleEndian.Uint32(data[hclHashType:]); hash != hclHashSHA256 {
		return nil, fmt.Errorf("HCL report with hash type %d, want %d (SHA-256)", hash, hclHashSHA256)
	}
	runtime, err := sized(data[hclRuntime:], uint64(binary.LittleEndian.Uint32(data[hclRuntimeSize:])))
	if err != nil {
		return nil, fmt.Errorf("HCL report: runtime data: %w", err)
	}
	return runtime, nil
}

// hclReport reads the member of a JSON object with the HCL report.
func hclReport(value json.RawMessage) ([]Attachment, error) {
	data, _, err := bytesMember(value)
	if err != nil {
		return nil, err
	}
	runtime, err := hclRuntimeData(data)
	if err != nil {
		return nil, err
	}
	return []Attachment{{Kind: HCLReport, Data: data}, {Kind: RuntimeData, Data: bytes.Clone(runtime), Type: "JSON"}}, nil
}
