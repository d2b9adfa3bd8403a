package evidence

// Form is a form in which people hold quotes. Its text is for people.
type Form string

// The quote, and text.
const (
	FormQuote     Form = "quote"
	FormLog       Form = "log lines"
	FormHex       Form = "hexadecimal"
	FormBase64    Form = "base64"
	FormBase64URL Form = "base64url"
	FormPEM       Form = "PEM"
	FormString    Form = "JSON string"
)

// What Open Enclave and EGo make.
const (
	FormOpenEnclaveReport   Form = "Open Enclave report"
	FormOpenEnclaveEvidence Form = "Open Enclave evidence"
)

// JSON objects.
const (
	FormAzure            Form = "request to Azure Attestation"
	FormAzureSample      Form = "enclave information for Azure Attestation"
	FormTrustAuthority   Form = "request to Intel Trust Authority"
	FormAzureVTPM        Form = "evidence of an Azure TDX machine"
	FormCoCo             Form = "evidence of Confidential Containers"
	FormDstack           Form = "reply of dstack"
	FormTSM              Form = "report of configfs-tsm"
	FormJSON             Form = "JSON object with a quote"
	FormCMWRecord        Form = "CMW record"
	FormCMWCollection    Form = "CMW collection"
	FormCMWTag           Form = "CMW tag"
	FormTaggedEvidence   Form = "tagged evidence"
	FormCertificate      Form = "certificate"
	FormExtensionGramine Form = "quote extension of Gramine"
	FormExtensionIntel   Form = "quote extension of the Intel SGX SDK"
	FormExtensionDstack  Form = "quote extension of dstack"
)
