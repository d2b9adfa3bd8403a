package challenge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/attesttest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
	"github.com/confcom/confcom/sgx"
	"github.com/confcom/confcom/sgx/simulation"
)

// keeper gives a secret to enclaves of its signer that have just made a quote, and to nobody
// else.
type keeper struct {
	nonces   *challenge.Issuer
	verifier *verify.Verifier
	policy   attest.Policy
}

// answer is what an enclave sends: its evidence, and the key that it has bound to the nonce.
type answer struct {
	Nonce         challenge.Nonce
	Key, Evidence []byte
}

func (k *keeper) nonce(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, k.nonces.Issue(time.Now()).String())
}

func (k *keeper) secret(w http.ResponseWriter, r *http.Request) {
	if err := k.verify(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	_, _ = io.WriteString(w, "the secret") // a real one is encrypted for the key
}

func (k *keeper) verify(w http.ResponseWriter, r *http.Request) error {
	var a answer
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 512<<10)).Decode(&a); err != nil {
		return err
	}
	if err := k.nonces.Check(a.Nonce, time.Now()); err != nil {
		return err
	}
	policy, bound := k.policy, challenge.ReportData(a.Nonce, a.Key)
	policy.ReportData = bound[:]
	_, err := k.verifier.Verify(r.Context(), a.Evidence, policy)
	return err
}

// A service hands out nonces and verifies what enclaves answer.
func Example() {
	issued, err := attesttest.NewCollateral(time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	intel := httptest.NewServer(attesttest.Handler(issued)) // a fake one: the default is Intel's
	defer intel.Close()
	source, err := pcs.PCCS(intel.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	root, err := attest.ParseRoot(simulation.RootPEM()) // for tests only: use attest.IntelRoot
	if err != nil {
		fmt.Println(err)
		return
	}
	nonces, err := challenge.NewIssuer(time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &pcs.Client{Service: source, Roots: []attest.Root{root}}
	defer client.Close()
	k := &keeper{nonces, &verify.Verifier{Roots: []attest.Root{root}, Source: client}, attest.Policy{MRSigners: []sgx.Measurement{{2}}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nonce", k.nonce)
	mux.HandleFunc("POST /secret", k.secret)
	server := httptest.NewServer(mux)
	defer server.Close()

	key := []byte("the public key of the enclave")
	nonce := get(server.URL + "/nonce")
	evidence := quoteOfEnclave(challenge.ReportData(nonce, key))
	fmt.Println(post(server.URL+"/secret", answer{nonce, key, evidence}))
	fmt.Println(post(server.URL+"/secret", answer{nonce, []byte("the key of another"), evidence}))
	fmt.Println(post(server.URL+"/secret", answer{make([]byte, 48), key, evidence}))
	// Output:
	// 200 the secret
	// 403 no secret
	// 403 no secret
}

// quoteOfEnclave is the enclave's part, on a simulated platform.
func quoteOfEnclave(reportData sgx.ReportData) []byte {
	issuer, err := attesttest.NewIssuer("node-1", time.Now())
	if err != nil {
		panic(err)
	}
	q, err := issuer.Quote(sgx.ReportBody{MREnclave: sgx.Measurement{1}, MRSigner: sgx.Measurement{2}, ReportData: reportData})
	if err != nil {
		panic(err)
	}
	data, err := q.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return data
}

func get(url string) (nonce challenge.Nonce) {
	response, err := http.Get(url)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	if err := nonce.UnmarshalText(text); err != nil {
		panic(err)
	}
	return nonce
}

// post sends an answer, and returns the status and what came with it.
func post(url string, a answer) (status int, secret string) {
	body, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, "no secret"
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	return response.StatusCode, string(text)
}
