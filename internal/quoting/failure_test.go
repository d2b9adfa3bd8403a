package quoting

import (
	"errors"
	"fmt"
	"testing"

	"github.com/confcom/confcom/aesm"
)

func TestLayerOf(t *testing.T) {
	others := map[aesm.Code]Layer{ // all other codes are of the backend
		aesm.CodeAttKeyNotInitialized:     LayerClient,
		aesm.CodeErrorReport:              LayerClient,
		aesm.CodeInvalidReport:            LayerClient,
		aesm.CodeUnableToGenerateQEReport: LayerClient,

		aesm.CodeNetwork:            LayerNetwork,
		aesm.CodeNetworkBusy:        LayerNetwork,
		aesm.CodeProxySettingAssist: LayerNetwork,
		aesm.CodeMsg:                LayerNetwork,

		aesm.CodePlatformLibUnavailable: LayerProvider,
		aesm.CodeAttKeyCertDataInvalid:  LayerProvider,
		aesm.CodeNoPlatformCertData:     LayerProvider,
	}
	for code := aesm.CodeUnexpected; code <= aesm.CodeConfigUnsupported+1; code++ {
		want, ok := others[code]
		if !ok {
			want = LayerBackend
		}
		if got := LayerOf(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}

func TestFailure(t *testing.T) {
	cause := errors.New("the daemon sent a malformed reply")
	var err error = &Failure{LayerProvider, aesm.CodeNoPlatformCertData, cause, "register the platform"}
	if got, want := err.Error(), "provider: the daemon sent a malformed reply"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	err = fmt.Errorf("somewhere: %w", err)
	if !errors.Is(err, cause) || !errors.Is(err, aesm.CodeNoPlatformCertData) || errors.Is(err, aesm.CodeUnexpected) {
		t.Error("Failure does not wrap exactly its cause and its code")
	}
	// The code of the failure takes precedence over a code of its cause.
	err = &Failure{LayerBackend, aesm.CodeBusy, aesm.CodeNetwork, ""}
	if code, _ := errors.AsType[aesm.Code](err); code != aesm.CodeBusy {
		t.Errorf("code %s", code)
	}
}

func TestFailureOf(t *testing.T) {
	failure := &Failure{LayerQueue, aesm.CodeBusy, errors.New("full"), "wait"}
	bad := fmt.Errorf("a key id of 3 bytes: %w", aesm.CodeParameter)
	panicked := &aesm.PanicError{Value: "bug"}
	for _, tt := range []struct {
		name string
		code aesm.Code
		err  error
		want Failure
	}{
		{"failure of the service", aesm.CodeBusy, fmt.Errorf("aesm: %w", failure), *failure},
		{"request rejected by aesm.Server", aesm.CodeParameter, bad, Failure{LayerClient, aesm.CodeParameter, bad, ""}},
		{"panic", aesm.CodeUnexpected, panicked, Failure{LayerBackend, aesm.CodeUnexpected, panicked, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := failureOf(tt.code, tt.err); got != tt.want {
				t.Errorf("%#v, want %#v", got, tt.want)
			}
		})
	}
}
