package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/spdx/tools-golang/spdxlib"
)

// TestProvenanceFormat reads the provenance with the code of in-toto: it refuses unknown
// members and checks that those which must be there are.
func TestProvenanceFormat(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(standInRelease(t), provenanceFile))
	if err != nil {
		t.Fatal(err)
	}
	check := func(text []byte) error {
		var s intoto.Statement
		if err := protojson.Unmarshal(text, &s); err != nil {
			return err
		}
		if err := s.Validate(); err != nil {
			return err
		}
		predicate, err := s.GetPredicate().MarshalJSON()
		if err != nil {
			return err
		}
		var p slsa.Provenance
		if err := protojson.Unmarshal(predicate, &p); err != nil {
			return err
		}
		return p.Validate()
	}
	if err := check(text); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	for _, member := range []string{`"_type"`, `"predicateType"`, `"subject"`, `"buildDefinition"`, `"runDetails"`, `"resolvedDependencies"`} {
		if check(bytes.Replace(text, []byte(member), []byte(`"other"`), 1)) == nil {
			t.Errorf("without %s it is valid as well", member)
		}
	}
}

// TestSBOMFormat reads the SBOMs with the code of SPDX, which checks their identifiers and
// relationships.
func TestSBOMFormat(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(standInRelease(t), "sbom", "*"))
	if err != nil || len(files) != len(images)+len(platforms) {
		t.Fatalf("%d SBOMs, %v", len(files), err)
	}
	check := func(text []byte) (*v2_3.Document, error) {
		var d v2_3.Document
		if err := spdxjson.ReadInto(bytes.NewReader(text), &d); err != nil {
			return nil, err
		}
		return &d, spdxlib.ValidateDocument(&d)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := check(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		described, err := spdxlib.GetDescribedPackageIDs(d)
		if err != nil || len(described) != 1 || d.CreationInfo.Created == "" || d.DocumentNamespace == "" {
			t.Errorf("%s describes %v, %v", file, described, err)
		}
		for _, p := range d.Packages {
			if p.PackageDownloadLocation == "" || p.PackageVersion == "" {
				t.Errorf("%s: %+v", file, p)
			}
		}
		if _, err := check([]byte(strings.Replace(string(text), `"relatedSpdxElement": "SPDXRef-Module-`, `"relatedSpdxElement": "SPDXRef-none-`, 1))); err == nil {
			t.Errorf("%s: a relationship with nothing is valid as well", file)
		}
	}
}
