// Secret-service gives a secret to the enclaves that a policy accepts, if they have just made a
// quote, and to nobody else.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/challenge"
	"github.com/confcom/confcom/attest/pcs"
	"github.com/confcom/confcom/attest/verify"
)

func main() {
	text, readErr := os.ReadFile("policy.json")
	policy, policyErr := attest.ParsePolicy(text)
	nonces, noncesErr := challenge.NewIssuer(time.Minute)
	if err := errors.Join(readErr, policyErr, noncesErr); err != nil {
		log.Fatal(err)
	}
	verifier := &verify.Verifier{Source: &pcs.Client{Service: pcs.Intel()}}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", handler(nonces, verifier, policy)))
}

// answer is what an enclave sends: its evidence, and the key that it has bound to the nonce.
type answer struct {
	Nonce         challenge.Nonce
	Key, Evidence []byte
}

func handler(nonces *challenge.Issuer, verifier *verify.Verifier, policy attest.Policy) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nonce", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, nonces.Issue(time.Now()))
	})
	mux.HandleFunc("POST /secret", func(w http.ResponseWriter, r *http.Request) {
		var a answer
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 512<<10)).Decode(&a)
		if err == nil {
			err = nonces.Check(a.Nonce, time.Now())
		}
		if err == nil {
			required, bound := policy, challenge.ReportData(a.Nonce, a.Key)
			required.ReportData = bound[:]
			_, err = verifier.Verify(r.Context(), a.Evidence, required)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprint(w, "the secret") // encrypt a real one for a.Key
	})
	return mux
}
