package quoting

import "github.com/confcom/confcom/aesm"

// Layer is the part of the data path that failed: where to look first.
type Layer string

// The layers, from the client to the network.
const (
	LayerClient   Layer = "client"   // the request or its report is invalid, or its client has gone
	LayerQueue    Layer = "queue"    // too many requests wait, or one has waited too long
	LayerBackend  Layer = "backend"  // the quote backend: its enclaves, its device, its daemon
	LayerWorker   Layer = "worker"   // a process of the quote backend crashed or hangs
	LayerProvider Layer = "provider" // the quote provider library, or the service that has the platform's certificates
	LayerNetwork  Layer = "network"  // the connection to that service
)

// LayerOf returns the layer of an error of a backend of which only the code is
// known. The service has already checked the key and the sizes of the request, so
// codes about those refer to the backend itself.
func LayerOf(code aesm.Code) Layer {
	switch code {
	case aesm.CodeAttKeyNotInitialized, // the client must call InitQuote again
		aesm.CodeErrorReport, aesm.CodeInvalidReport, // the report was not made for this platform
		aesm.CodeUnableToGenerateQEReport: // the challenge names no enclave
		return LayerClient
	case aesm.CodeNetwork, aesm.CodeNetworkBusy, aesm.CodeProxySettingAssist, // the certificate service is unreachable
		aesm.CodeMsg: // a proxy or firewall answered in its place
		return LayerNetwork
	case aesm.CodePlatformLibUnavailable, // no provider library to fetch certificates with
		aesm.CodeAttKeyCertDataInvalid, aesm.CodeNoPlatformCertData: // it returned no certificates for this platform
		return LayerProvider
	}
	// The rest concerns the enclaves, the device or the daemon. So does
	// CodeUnexpected, which Intel's quoting library returns for most causes.
	return LayerBackend
}
