package evidence

// Kind is what an attachment is.
type Kind string

// The kinds of attachments. What is said to be hashed into the report data has to be checked
// by the verifier.
const (
	// RuntimeData is data that the enclave or trust domain chose. Azure Attestation and Azure's
	// HCL reports have its SHA-256 in the first 32 bytes of the report data; Intel Trust
	// Authority has the SHA-512 of Nonce, RuntimeData and UserData there.
	RuntimeData Kind = "runtime data"
	// UserData is data for Intel Trust Authority; see RuntimeData.
	UserData Kind = "user data"
	// InitTimeData is what was known when the enclave was built. Azure Attestation compares
	// its SHA-256 with the first 32 bytes of CONFIGID.
	InitTimeData Kind = "init-time data"
	// Nonce is, for Intel Trust Authority, its nonce followed by the time of issue; see
	// RuntimeData. For Azure Attestation it is a text that returns in the token: nothing in
	// the quote depends on it.
	Nonce Kind = "nonce"
	// NonceSignature is the signature of Intel Trust Authority over Nonce.
	NonceSignature Kind = "signature of the nonce"
	// CustomClaims are claims of the enclave. Their SHA-256 is in the first 32 bytes of the
	// report data.
	CustomClaims Kind = "custom claims"
	// EventLog is a log of what was measured into the RTMRs.
	EventLog Kind = "event log"
	// HCLReport is the report of Azure's paravisor (Host Compatibility Layer), whose runtime
	// data are also an attachment.
	HCLReport Kind = "HCL report"
	// TPMQuote is what a TPM (Trusted Platform Module) signed, as JSON. A key in the runtime
	// data verifies it.
	TPMQuote Kind = "TPM quote"
	// PublicKey is the key of the certificate that held the quote: a SubjectPublicKeyInfo in
	// DER. With tagged evidence, its hash is the claim "pubkey-hash" of the custom claims. With
	// Gramine's older extension, its SHA-256 is in the first 32 bytes of the report data. Open
	// Enclave and EGo hash the key in PEM, followed by a NUL, or in DER.
	PublicKey Kind = "public key"
	// LegacyQuote is a quote beside the tagged evidence in a certificate, for verifiers that do
	// not know that.
	LegacyQuote Kind = "legacy quote"
	// Endorsements are collateral that the attester attached.
	Endorsements Kind = "endorsements"
	// OtherRecord is a part of a CMW collection that is something else than a quote.
	OtherRecord Kind = "other CMW record"
)
