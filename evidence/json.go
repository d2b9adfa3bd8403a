package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/confcom/confcom/internal/strictjson"
)

// parseJSON reads JSON text: an object, an array, or a string.
func parseJSON(text []byte, layers int) (*Evidence, error) {
	if len(text) > maxJSON {
		return nil, fmt.Errorf("%w: %d bytes of text that starts like JSON, want at most %d MiB", ErrTooLarge, len(text), maxJSON>>20)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, describeNotJSON(text, err)
	}
	switch text[0] {
	case '"':
		data, form, err := stringMember(text)
		if err != nil {
			return nil, locate(damaged(err), FormString)
		}
		e, err := parseMember(data, form, layers)
		return in(FormString, e, err)
	case '[':
		return parseJSONRecord(text, layers)
	}
	members, err := strictjson.Members(text)
	if err != nil {
		return nil, locate(malformed(err), FormJSON)
	}
	if isJSONCollection(members) {
		return parseJSONCollection(members, layers)
	}
	return parseObject(members, layers)
}

// object is the shape of a JSON object with a quote in one of its members. Unknown members
// are errors, as they may state what the quote is about.
type object struct {
	form Form
	// quote is the member that holds the quote.
	quote string
	// marks are members of which at least one must be there, unless there are none.
	marks []string
	// only reports whether these members are of this shape, where marks do not tell; it may
	// be nil.
	only func(members map[string]json.RawMessage) bool
	// others are the other members, and what they attach.
	others map[string]attach
}

// attach returns what a member of a JSON object attaches to the quote. The value is not null.
type attach func(value json.RawMessage) ([]Attachment, error)

// objects returns the known shapes.
func objects() []object {
	trustAuthority := maps.Clone(trustAuthorityMembers())
	maps.Copy(trustAuthority, trustAuthoritySettings())
	return []object{
		{ // Azure REST API specifications, Attestation 2025-06-01: AttestSgxEnclaveRequest, AttestTdxVmRequest
			form: FormAzure, quote: "quote",
			marks:  []string{"runtimeData", "initTimeData", "draftPolicyForAttestation", "nonce"},
			others: azureMembers(),
		},
		{ // the same: AttestOpenEnclaveRequest
			form: FormAzure, quote: "report",
			others: azureMembers(),
		},
		{ // Microsoft's samples for Azure Attestation (genquotes, maa.perf.test), and Gramine
			form: FormAzureSample, quote: "QuoteHex",
			others: map[string]attach{
				"Type": nothing, "MrEnclaveHex": nothing, "MrSignerHex": nothing, "ProductIdHex": nothing,
				"SecurityVersion": nothing, "Attributes": nothing, "EnclaveHeldDataHex": hexAs(RuntimeData),
			},
		},
		{ // Intel Trust Authority, API version 1: connector.tokenRequest of trustauthority-client-for-go
			form: FormTrustAuthority, quote: "quote",
			marks:  []string{"runtime_data", "user_data", "verifier_nonce", "event_log", "policy_ids", "policy_must_match", "token_signing_alg"},
			only:   func(members map[string]json.RawMessage) bool { return !isJSONText(members["event_log"]) },
			others: trustAuthority,
		},
		{ // Confidential Containers, attester/src/tdx of guest-components
			form: FormCoCo, quote: "quote",
			marks:  []string{"cc_eventlog"},
			others: map[string]attach{"cc_eventlog": base64As(EventLog)},
		},
		{ // dstack: GetQuoteResponse and TdxQuoteResponse of guest-agent/rpc
			form: FormDstack, quote: "quote",
			marks: []string{"event_log", "report_data", "vm_config", "hash_algorithm", "prefix"},
			only: func(members map[string]json.RawMessage) bool {
				log := members["event_log"]
				return log == nil || isJSONText(log)
			},
			others: map[string]attach{
				"event_log": textAs(EventLog), "report_data": nothing, "vm_config": nothing,
				"hash_algorithm": nothing, "prefix": nothing, "attestation": nothing,
			},
		},
		{ // Azure's metadata service, Confidential Containers for SGX, and every API above
			form: FormJSON, quote: "quote",
		},
		{ // Confidential Containers, attester/src/az_tdx_vtpm, versions 0 (arrays of numbers), 1 and 2
			form: FormAzureVTPM, quote: "td_quote",
			others: map[string]attach{"version": oneOf(1, 2), "tpm_quote": jsonAs(TPMQuote), "hcl_report": hclReport},
		},
		{ // attested TLS for Azure: AttestationDocument
			form: FormAzureVTPM, quote: "tdx_quote_base64",
			others: map[string]attach{"hcl_report_base64": hclReport, "tpm_attestation": jsonAs(TPMQuote)},
		},
		{ // go-configfs-tsm and Veraison's application/vnd.veraison.tsm-report+json
			form: FormTSM, quote: "outblob",
			others: map[string]attach{"auxblob": nothing, "provider": nothing, "service": nothing},
		},
	}
}

func azureMembers() map[string]attach {
	return map[string]attach{
		"runtimeData": azureData(RuntimeData), "initTimeData": azureData(InitTimeData),
		"nonce": textAs(Nonce), "draftPolicyForAttestation": nothing,
	}
}

// trustAuthorityMembers are the members of one kind of evidence, beside the quote.
func trustAuthorityMembers() map[string]attach {
	return map[string]attach{
		"runtime_data": base64As(RuntimeData), "user_data": base64As(UserData), "event_log": base64As(EventLog),
		"verifier_nonce": trustAuthorityNonce,
	}
}

// trustAuthoritySettings are the members of a request that are not about evidence.
func trustAuthoritySettings() map[string]attach {
	return map[string]attach{"policy_ids": nothing, "policy_must_match": nothing, "token_signing_alg": nothing}
}

// parseObject reads a JSON object whose members say what it is.
func parseObject(members map[string]json.RawMessage, layers int) (*Evidence, error) {
	if _, found := members["sgx"]; found {
		return parseTrustAuthority(members, layers)
	}
	if _, found := members["tdx"]; found {
		return parseTrustAuthority(members, layers)
	}
	var similar, same []object
	for _, o := range objects() {
		if _, found := members[o.quote]; !found {
			continue
		}
		similar = append(similar, o)
		if o.fits(members) {
			same = append(same, o)
		}
	}
	switch {
	case len(same) == 1:
		return same[0].parse(members, layers)
	case len(same) > 1:
		return nil, fmt.Errorf("%w: a JSON object that is both %s and %s", ErrAmbiguous, same[0].form, same[1].form)
	case len(similar) > 0:
		o := closest(similar, members)
		return nil, locate(fmt.Errorf("%w: unknown member %q: pass only the quote if it does not matter", ErrMalformed, o.unknown(members)), o.form)
	}
	return nil, describeObject(members)
}

// fits reports whether members are those of o.
func (o object) fits(members map[string]json.RawMessage) bool {
	marked := func(mark string) bool { _, found := members[mark]; return found }
	return o.unknown(members) == "" && (len(o.marks) == 0 || slices.ContainsFunc(o.marks, marked)) && (o.only == nil || o.only(members))
}

// unknown returns the first member, by name, that o does not know, or "".
func (o object) unknown(members map[string]json.RawMessage) string {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if _, known := o.others[name]; !known && name != o.quote {
			return name
		}
	}
	return ""
}

// closest returns the object of which most members are there.
func closest(all []object, members map[string]json.RawMessage) object {
	known := func(o object) (n int) {
		for name := range members {
			if _, found := o.others[name]; found {
				n++
			}
		}
		return n
	}
	return slices.MaxFunc(all, func(a, b object) int { return known(a) - known(b) })
}

// parse reads the quote in members, which fit o, and collects what else is in them.
func (o object) parse(members map[string]json.RawMessage, layers int) (*Evidence, error) {
	e, err := o.parseQuote(members, layers)
	if err != nil {
		return nil, locate(err, o.form)
	}
	var attachments []Attachment
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		if name == o.quote || isNull(value) { // Intel's client writes null for what it lacks
			continue
		}
		a, err := o.others[name](value)
		if err != nil {
			return nil, locate(damaged(fmt.Errorf("member %q: %w", name, err)), o.form)
		}
		attachments = append(attachments, a...)
	}
	return e.within(o.form, attachments...), nil
}

func (o object) parseQuote(members map[string]json.RawMessage, layers int) (*Evidence, error) {
	data, form, err := bytesMember(members[o.quote])
	if err != nil {
		return nil, damaged(fmt.Errorf("member %q: %w", o.quote, err))
	}
	return parseMember(data, form, layers)
}

// parseMember reads what was encoded in a JSON string or array: a binary form.
func parseMember(data []byte, form Form, layers int) (*Evidence, error) {
	e, err := parseBinary(data, layers)
	if form == "" {
		return e, err
	}
	return in(form, e, err)
}

// parseTrustAuthority reads a request to Intel Trust Authority in API version 2, which has a
// member for each kind of evidence: EvidenceBuilder of trustauthority-client-for-go.
func parseTrustAuthority(members map[string]json.RawMessage, layers int) (*Evidence, error) {
	request := object{form: FormTrustAuthority, quote: "tdx", others: trustAuthoritySettings()}
	request.others["tpm"] = jsonAs(TPMQuote)
	request.others["nvgpu"] = nothing
	if _, found := members["sgx"]; found {
		if _, both := members["tdx"]; both {
			return nil, locate(fmt.Errorf("%w: two quotes, in members \"sgx\" and \"tdx\": pass one", ErrAmbiguous), FormTrustAuthority)
		}
		request.quote = "sgx"
	}
	if name := request.unknown(members); name != "" {
		return nil, locate(fmt.Errorf("%w: unknown member %q", ErrMalformed, name), FormTrustAuthority)
	}
	inner, err := strictjson.Members(members[request.quote])
	if err != nil {
		return nil, locate(fmt.Errorf("%w: member %q: %w", ErrMalformed, request.quote, err), FormTrustAuthority)
	}
	o := object{form: FormTrustAuthority, quote: "quote", others: trustAuthorityMembers()}
	if name := o.unknown(inner); name != "" {
		return nil, locate(fmt.Errorf("%w: member %q: unknown member %q", ErrMalformed, request.quote, name), FormTrustAuthority)
	}
	if _, found := inner[o.quote]; !found {
		return nil, locate(fmt.Errorf("%w: member %q: no member \"quote\"", ErrMalformed, request.quote), FormTrustAuthority)
	}
	e, err := o.parse(inner, layers)
	if err != nil {
		return nil, err
	}
	if tpm, found := members["tpm"]; found && !isNull(tpm) {
		e = e.with(Attachment{Kind: TPMQuote, Data: bytes.Clone(tpm), Type: "JSON"})
	}
	return e, nil
}

func isNull(value json.RawMessage) bool { return string(value) == "null" }

// bytesMember returns bytes in a JSON string, in hexadecimal or base64, or in an array of
// numbers, as serde writes bytes. The form is empty for an array.
func bytesMember(value json.RawMessage) ([]byte, Form, error) {
	switch value[0] {
	case '"':
		return stringMember(value)
	case '[':
		data, err := numbers(value)
		return data, "", err
	}
	return nil, "", fmt.Errorf("want a string with bytes in hexadecimal or base64, not %.20q", value)
}

// numbers returns the bytes in an array of numbers, which may be long. Package json would take
// null for 0, and go on after the first fault.
func numbers(array json.RawMessage) ([]byte, error) {
	inner := bytes.TrimSpace(array[1 : len(array)-1])
	if len(inner) == 0 {
		return nil, nil
	}
	data := make([]byte, 0, bytes.Count(inner, []byte(","))+1)
	for number := range bytes.SplitSeq(inner, []byte(",")) {
		text := string(bytes.TrimSpace(number))
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("number %d is %.20q, want 0 to 255", len(data)+1, text)
		}
		data = append(data, byte(n))
	}
	return data, nil
}

func stringMember(value json.RawMessage) ([]byte, Form, error) {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, "", err
	}
	if text == "" {
		return nil, "", errors.New("empty")
	}
	return decodeText(text)
}

func nothing(json.RawMessage) ([]Attachment, error) { return nil, nil }

// base64As attaches data in base64. It may be short, so that nothing but the name of the
// member tells it from hexadecimal.
func base64As(kind Kind) attach {
	return func(value json.RawMessage) ([]Attachment, error) {
		var text string
		if err := json.Unmarshal(value, &text); err != nil || text == "" {
			return nil, err
		}
		data, _, err := decodeBase64(text)
		return []Attachment{{Kind: kind, Data: data}}, err
	}
}

// hexAs attaches data in hexadecimal, or a key in base64url, which Gramine writes into the
// same member.
func hexAs(kind Kind) attach {
	return func(value json.RawMessage) ([]Attachment, error) {
		data, _, err := stringMember(value)
		return []Attachment{{Kind: kind, Data: data}}, err
	}
}

func textAs(kind Kind) attach {
	return func(value json.RawMessage) ([]Attachment, error) {
		var text string
		err := json.Unmarshal(value, &text)
		return []Attachment{{Kind: kind, Data: []byte(text)}}, err
	}
}

func jsonAs(kind Kind) attach {
	return func(value json.RawMessage) ([]Attachment, error) {
		return []Attachment{{Kind: kind, Data: bytes.Clone(value), Type: "JSON"}}, nil
	}
}

func oneOf(numbers ...int) attach {
	return func(value json.RawMessage) ([]Attachment, error) {
		var n int
		if err := json.Unmarshal(value, &n); err != nil {
			return nil, err
		}
		if !slices.Contains(numbers, n) {
			return nil, fmt.Errorf("%d is not supported, want one of %v", n, numbers)
		}
		return nil, nil
	}
}

// azureData reads RuntimeData or InitTimeData of Azure Attestation.
func azureData(kind Kind) attach {
	return func(value json.RawMessage) ([]Attachment, error) {
		var data struct {
			Data string `json:"data"`
			Type string `json:"dataType"`
		}
		if err := strictjson.Unmarshal(value, &data); err != nil {
			return nil, err
		}
		if data.Type != "" && data.Type != "JSON" && data.Type != "Binary" {
			return nil, fmt.Errorf("dataType %q, want \"JSON\" or \"Binary\"", data.Type)
		}
		if data.Data == "" {
			return nil, nil
		}
		decoded, _, err := decodeBase64(data.Data)
		return []Attachment{{Kind: kind, Data: decoded, Type: data.Type}}, err
	}
}

// trustAuthorityNonce reads the VerifierNonce of Intel Trust Authority.
func trustAuthorityNonce(value json.RawMessage) ([]Attachment, error) {
	var nonce struct {
		Val       []byte `json:"val"`
		IAT       []byte `json:"iat"`
		Signature []byte `json:"signature"`
	}
	if err := strictjson.Unmarshal(value, &nonce); err != nil {
		return nil, err
	}
	return []Attachment{{Kind: Nonce, Data: append(nonce.Val, nonce.IAT...)}, {Kind: NonceSignature, Data: nonce.Signature}}, nil
}

// isJSONText reports whether value is a string that holds a JSON array, as the event log of
// dstack is.
func isJSONText(value json.RawMessage) bool {
	var text string
	return json.Unmarshal(value, &text) == nil && strings.HasPrefix(strings.TrimSpace(text), "[")
}
