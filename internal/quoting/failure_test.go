package quoting

import (
	"errors"
	"fmt"
	"testing"

	"github.com/confcom/confcom/aesm"
)

func TestLayerOf(t *testing.T) {
	elsewhere := map[aesm.Code]Layer{
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
		want, ok := elsewhere[code]
		if !ok {
			want = LayerBackend
		}
		if got := LayerOf(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}

func TestFailure(t *testing.T) {
	cause := errors.New("the daemon answered with garbage")
	var err error = &Failure{LayerProvider, aesm.CodeNoPlatformCertData, cause, "register the platform"}
	if got, want := err.Error(), "provider: the daemon answered with garbage"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	err = fmt.Errorf("somewhere: %w", err)
	if !errors.Is(err, cause) || !errors.Is(err, aesm.CodeNoPlatformCertData) || errors.Is(err, aesm.CodeUnexpected) {
		t.Error("it is not its cause and its code")
	}
	// The cause may have a code as well: the client is told that of the failure.
	err = &Failure{LayerBackend, aesm.CodeBusy, aesm.CodeNetwork, ""}
	if code, _ := errors.AsType[aesm.Code](err); code != aesm.CodeBusy {
		t.Errorf("the client is told %s", code)
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
		{"of the service", aesm.CodeBusy, fmt.Errorf("aesm: %w", failure), *failure},
		{"of a check of the request", aesm.CodeParameter, bad, Failure{LayerClient, aesm.CodeParameter, bad, ""}},
		{"a bug", aesm.CodeUnexpected, panicked, Failure{LayerBackend, aesm.CodeUnexpected, panicked, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := failureOf(tt.code, tt.err); got != tt.want {
				t.Errorf("%#v, want %#v", got, tt.want)
			}
		})
	}
}
