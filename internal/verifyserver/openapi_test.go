package verifyserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
	"github.com/confcom/confcom/attest/ear"
	"github.com/confcom/confcom/evidence"
)

// document is the part of the OpenAPI document that is compared.
type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref        string `json:"$ref"`
	Const      string
	Properties map[string]schema
	Items      *schema
	Required   []string
}

func readDocument(t *testing.T, h http.Handler) document {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	var d document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	return d
}

// The document has the routes of the service, and no others.
func TestOpenAPIRoutes(t *testing.T) {
	s, h, _, _ := newService(t, attest.Policy{AnyEnclave: true})
	var documented []string
	for path, operations := range readDocument(t, h).Paths {
		for method := range operations {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(documented)
	if routes := slices.Sorted(maps.Keys(s.routes())); !slices.Equal(documented, routes) {
		t.Errorf("documented: %q\nserved: %q", documented, routes)
	}
}

// The document has the members of everything that the service reads and writes, and no others.
func TestOpenAPIMembers(t *testing.T) {
	_, h, _, _ := newService(t, attest.Policy{AnyEnclave: true})
	d := readDocument(t, h)
	schemas := d.Components.Schemas
	result, claims, appraisal := schemas["Result"], schemas["EAR"], schemas["Appraisal"]
	for _, c := range []struct {
		name string
		of   any
		is   schema
	}{
		{"request", request{}, d.Paths["/v1/verify"]["post"].RequestBody.Content[mediaTypeJSON].Schema},
		{"Challenge", Challenge{}, schemas["Challenge"]},
		{"Result", Response{}, result},
		{"Result.evidence", evidence.Summary{}, result.Properties["evidence"]},
		{"Result.evidence.attachments", evidence.AttachmentSummary{}, *result.Properties["evidence"].Properties["attachments"].Items},
		{"Result.checks", attest.Check{}, *result.Properties["checks"].Items},
		{"EAR.ear_verifier_id", ear.VerifierID{}, claims.Properties["ear_verifier_id"]},
		{"Appraisal", ear.Appraisal{}, appraisal},
		{"Appraisal.ear_trustworthiness_vector", ear.Vector{}, appraisal.Properties["ear_trustworthiness_vector"]},
	} {
		want := members(reflect.TypeOf(c.of))
		if got := slices.Sorted(maps.Keys(c.is.Properties)); !slices.Equal(got, want) {
			t.Errorf("%s: documented: %q\nin the code: %q", c.name, got, want)
		}
	}
	text, err := json.Marshal(ear.Claims{Nonce: make([]byte, 8)})
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]any
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(claims.Properties)), slices.Sorted(maps.Keys(written)); !slices.Equal(got, want) {
		t.Errorf("EAR: documented: %q\nin the code: %q", got, want)
	}
	if claims.Properties["eat_profile"].Const != ear.Profile || appraisal.Properties["eat_profile"].Const != ear.ResultProfile {
		t.Error("the profiles are others")
	}
	for name, s := range schemas {
		for _, required := range s.Required {
			if _, found := s.Properties[required]; !found {
				t.Errorf("%s: %q is required and not described", name, required)
			}
		}
	}
}

// members returns the names of a struct's fields in JSON.
func members(of reflect.Type) []string {
	var names []string
	for _, field := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
