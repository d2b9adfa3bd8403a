package verifyserver

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/quote"
	"github.com/confcom/confcom/sgx"
)

// without returns a quote of a platform without its certificates, and these.
func without(t *testing.T, platform string, kind quote.CertificationDataType) (*quote.Quote, []*x509.Certificate) {
	t.Helper()
	issuer, err := attesttest.NewIssuer(platform, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer.CertificationType = kind
	q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := issuer.PCKChain()
	if err != nil {
		t.Fatal(err)
	}
	return q, chain
}

func inPEM(certificates ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certificates {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return text.String()
}

// ask sends a request of a client, and returns the status, and the body's trusted, reason and error.
func ask(t *testing.T, h http.Handler, from netip.Addr, q *quote.Quote, certificates string) (int, string) {
	t.Helper()
	body := map[string]any{"quote": marshal(t, q)}
	if certificates != "" {
		body["certificates"] = certificates
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/verify", bytes.NewReader(encodeJSON(t, body)))
	r.RemoteAddr = netip.AddrPortFrom(from, 1).String()
	h.ServeHTTP(w, r)
	var answer struct {
		Trusted       bool
		Reason, Error string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return w.Code, fmt.Sprint(answer.Trusted, " ", answer.Reason, answer.Error)
}

// A quote without certificates is verified with those of the request, or of the collateral service.
func TestCertificates(t *testing.T) {
	stranger := strangersCertificate(t)
	inBubble(t, func(t *testing.T) {
		s, h, whole, from := newService(t, attest.Policy{AnyEnclave: true})
		fetcher, service := newFetcher(t, from.collateral)
		s.Collateral = fetcher
		for _, kind := range []quote.CertificationDataType{quote.PCKLeaf, quote.PPIDClear, quote.PPIDRSA2048, quote.PPIDRSA3072} {
			q, chain := without(t, "node-1", kind)
			_, other := without(t, "node-2", kind)
			if status, answer := ask(t, h, client(1), q, ""); status != http.StatusBadRequest || !strings.Contains(answer, `status 404: no collateral for these platforms: send the PCK certificate in "certificates"`) {
				t.Errorf("%s, unknown: %d, %s", kind, status, answer)
			}
			for _, c := range []struct {
				name, certificates string
				status             int
				want               string
			}{
				{"chain", inPEM(chain[2], chain[0], chain[1]), 200, "true "},
				{"of another platform", inPEM(other...), 400, "none of 3 certificates has the key"},
				{"of another platform, alone", inPEM(other[0]), 400, "the certificate has not the key"},
				{"not PEM", "certificate", 400, "certificates: certificate 1: not complete PEM"},
				{"large", strings.Repeat(" ", maxCertificates+1), 400, "certificates: 16385 bytes, at most 16384 are allowed"},
			} {
				if kind == quote.PCKLeaf && strings.HasPrefix(c.want, "none of") {
					c.status, c.want = 200, "true " // the quote has the PCK certificate
				}
				if status, answer := ask(t, h, client(2), q, c.certificates); status != c.status || !strings.Contains(answer, c.want) {
					t.Errorf("%s, %s: %d, %s; want %d, %s", kind, c.name, status, answer, c.status, c.want)
				}
			}
			service.know(q, chain)
			asked := len(service.asked)
			for range 2 { // the second time from memory
				time.Sleep(failurePause + 1)
				if status, answer := ask(t, h, client(1), q, ""); status != 200 || answer != "true " {
					t.Errorf("%s: %d, %s", kind, status, answer)
				}
			}
			if n := len(service.asked) - asked; n != 1 {
				t.Errorf("%s: asked %d times", kind, n)
			}
			if kind == quote.PCKLeaf {
				continue
			}
			// The PCK certificate alone, and the others from the service.
			leaf, _ := without(t, "node-1", quote.PCKLeaf)
			leaf.Signature.CertificationData.Data = []byte(inPEM(chain[0]))
			service.know(leaf, chain)
			if status, answer := ask(t, h, client(1), q, inPEM(chain[0])); status != 200 || answer != "true " {
				t.Errorf("%s, PCK certificate alone: %d, %s", kind, status, answer)
			}
		}
		if status, answer := ask(t, h, client(1), whole, "certificates"); status != 400 || !strings.Contains(answer, "the quote has its own") {
			t.Errorf("a quote with certificates: %d, %s", status, answer)
		}
		// The certificate of a stranger causes no request.
		q, _ := without(t, "node-1", quote.PCKLeaf)
		q.Signature.CertificationData.Data = []byte(inPEM(stranger))
		asked := len(service.asked)
		if status, answer := ask(t, h, client(1), q, ""); status != 400 || len(service.asked) != asked {
			t.Errorf("%d, %s, asked %d times", status, answer, len(service.asked)-asked)
		}
	})
}

// strangersCertificate returns a certificate that is not Intel's.
func strangersCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return server.Certificate()
}

// Strangers choose for which platforms certificates are requested. However many they name, each
// of them causes a request per failurePause, and all together maxFetches. No quote of a platform
// whose certificates are in memory waits for them, nor does a fetch of collateral.
func TestStrangersPlatforms(t *testing.T) { inBubble(t, testStrangersPlatforms) }

func testStrangersPlatforms(t *testing.T) {
	s, h, whole, from := newService(t, attest.Policy{AnyEnclave: true})
	fetcher, service := newFetcher(t, from.collateral)
	s.Collateral = fetcher
	known, chain := without(t, "node-1", quote.PPIDRSA3072)
	service.know(known, chain)
	if status, answer := ask(t, h, client(0), known, ""); status != 200 {
		t.Fatal(status, answer)
	}
	service.asked = nil
	start := time.Now()
	var strangers sync.WaitGroup
	for i := range 60 {
		strangers.Go(func() {
			q := *known
			data := bytes.Clone(known.Signature.CertificationData.Data)
			data[0], data[1] = byte(i), ^data[1]
			q.Signature.CertificationData.Data = data
			if status, answer := ask(t, h, client(1+i%6), &q, ""); status != 400 && status != 503 {
				t.Errorf("%d, %s", status, answer)
			}
		})
	}
	synctest.Wait()
	for _, q := range []*quote.Quote{known, whole} {
		if status, answer := ask(t, h, client(1), q, ""); status != 200 || answer != "true " {
			t.Errorf("%d, %s", status, answer)
		}
	}
	if took := time.Since(start); took != 0 {
		t.Errorf("honest requests took %s", took)
	}
	strangers.Wait()
	each := make(map[time.Duration]int)
	for _, at := range service.asked {
		each[at.Sub(start).Truncate(failurePause)]++
	}
	for second, n := range each {
		if n > maxFetches {
			t.Errorf("%d requests in the second after %s", n, second)
		}
	}
	if n := len(service.asked); n < maxFetches || n > 60 {
		t.Errorf("asked %d times", n)
	}

	// A service that hangs delays no known quote either.
	service.hang()
	time.Sleep(maxFetches * failurePause)
	q, _ := without(t, "node-2", quote.PPIDRSA3072)
	strangers.Go(func() {
		if status, answer := ask(t, h, client(1), q, ""); status != 503 || !strings.Contains(answer, "no answer from the collateral service: waited for 15s") {
			t.Errorf("%d, %s", status, answer)
		}
	})
	synctest.Wait()
	if status, answer := ask(t, h, client(1), known, ""); status != 200 || answer != "true " {
		t.Errorf("%d, %s", status, answer)
	}
	strangers.Wait()
}
