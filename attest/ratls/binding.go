package ratls

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/confcom/confcom/evidence"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// Format is a format of evidence in certificates. The package comment says how each binds the key
// of the certificate.
type Format string

// The formats.
const (
	FormatTagged      Format = "Interoperable RA-TLS"
	FormatGramine     Format = "Gramine, before 1.8"
	FormatIntel       Format = "Intel SGX SDK, before 2.22"
	FormatOpenEnclave Format = "Open Enclave or EGo"
	FormatDstack      Format = "dstack"
)

// binding is how evidence binds a key.
type binding struct {
	format Format
	detail string // for people
	nonce  []byte // a claim
}

// bind checks that the evidence of a certificate binds its key, a SubjectPublicKeyInfo in DER.
func bind(e *evidence.Evidence, key []byte) (binding, error) {
	format, err := formatOf(e.Forms)
	if err != nil {
		return binding{}, err
	}
	b := binding{format: format}
	r := reportData{e.Parsed.ReportData(), e.Parsed.Header.TEE}
	switch format {
	case FormatTagged:
		b.nonce, b.detail, err = bindClaims(r, e, key)
	case FormatGramine:
		b.detail, err = r.expect(sha256Of("the key", key))
	case FormatIntel:
		b.detail, err = r.expect(r.intelHash("the key in PEM", pemOf(key)))
	case FormatOpenEnclave:
		b.detail, err = bindOpenEnclave(r, e, key)
	case FormatDstack:
		sum := sha512.Sum512(append([]byte("ratls-cert:"), key...))
		b.detail, err = r.expect(hash{`the SHA-512 of "ratls-cert:" and the key`, sum[:]})
	}
	if err != nil {
		return binding{}, fmt.Errorf("%w: %s: %w", ErrNotBound, format, err)
	}
	return b, nil
}

// formatOf returns the format of evidence by the forms of a certificate, from the outside in.
func formatOf(forms []evidence.Form) (Format, error) {
	unknown := fmt.Errorf("%w: %s", ErrUnknownFormat, join(forms))
	if len(forms) < 3 || forms[0] != evidence.FormCertificate {
		return "", unknown
	}
	around, holder := forms[1:len(forms)-2], forms[len(forms)-2] // of the quote
	switch {
	case holder == evidence.FormTaggedEvidence:
		for _, form := range around {
			switch form {
			case evidence.FormCMWRecord, evidence.FormCMWCollection, evidence.FormCMWTag:
			default:
				return "", unknown
			}
		}
		return FormatTagged, nil
	case holder == evidence.FormOpenEnclaveReport && slices.Equal(around, []evidence.Form{evidence.FormOpenEnclaveEvidence}):
		return FormatOpenEnclave, nil
	case len(around) > 0:
		return "", unknown
	}
	switch holder {
	case evidence.FormOpenEnclaveReport, evidence.FormOpenEnclaveEvidence:
		return FormatOpenEnclave, nil
	case evidence.FormExtensionGramine:
		return FormatGramine, nil
	case evidence.FormExtensionIntel:
		return FormatIntel, nil
	case evidence.FormExtensionDstack:
		return FormatDstack, nil
	}
	return "", unknown
}

func join(forms []evidence.Form) string {
	names := make([]string, len(forms))
	for i, form := range forms {
		names[i] = string(form)
	}
	return strings.Join(names, " > ")
}

// bindOpenEnclave checks that Open Enclave evidence binds a key, with claims or without.
func bindOpenEnclave(r reportData, e *evidence.Evidence, key []byte) (detail string, err error) {
	claims, found := e.Attached(evidence.CustomClaims)
	if !found {
		return r.expect(sha256Of("the key in PEM", pemOf(key)), sha256Of("the key", key))
	}
	if !bytes.Equal(claims, pemOf(key)) {
		return "", fmt.Errorf("the custom claims, %d bytes, are not the key of the certificate in PEM", len(claims))
	}
	return r.expect(sha256Of("the custom claims, which are the key in PEM", claims))
}

// pemOf returns a key in PEM, as C code reads it: with a final NUL.
func pemOf(key []byte) []byte {
	return append(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key}), 0)
}

// reportData is the report data of a quote of a TEE.
type reportData struct {
	bytes sgx.ReportData
	tee   quote.TEE
}

// hash is a hash that report data may begin with.
type hash struct {
	what string // for people: "the SHA-256 of ..."
	sum  []byte
}

func sha256Of(what string, data []byte) hash {
	sum := sha256.Sum256(data)
	return hash{"the SHA-256 of " + what, sum[:]}
}

// intelHash returns the hash that Intel's SDK writes into report data.
func (r reportData) intelHash(what string, data []byte) hash {
	if r.tee != quote.TDX {
		return sha256Of(what, data)
	}
	sum := sha512.Sum384(data)
	return hash{"the SHA-384 of " + what, sum[:]}
}

// expect checks that the report data is one of these hashes, followed by zeros.
func (r reportData) expect(hashes ...hash) (detail string, err error) {
	var names []string
	for _, h := range hashes {
		var want sgx.ReportData
		copy(want[:], h.sum)
		if r.bytes == want {
			return "the report data is " + h.what, nil
		}
		names = append(names, h.what)
	}
	return "", fmt.Errorf("the report data is %s, want %s", r.bytes, strings.Join(names, ", or "))
}
