package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The members of an SPDX 2.3 document that ours have.
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		License       string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		ID               string          `json:"SPDXID"`
		Name             string          `json:"name"`
		Version          string          `json:"versionInfo"`
		Purpose          string          `json:"primaryPackagePurpose"`
		Location         string          `json:"downloadLocation"`
		FilesAnalyzed    bool            `json:"filesAnalyzed"`
		LicenseConcluded string          `json:"licenseConcluded"`
		LicenseDeclared  string          `json:"licenseDeclared"`
		Copyright        string          `json:"copyrightText"`
		Checksums        []spdxChecksum  `json:"checksums,omitempty"`
		References       []spdxReference `json:"externalRefs,omitempty"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxReference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const (
	documentID  = "SPDXRef-DOCUMENT"
	noAssertion = "NOASSERTION"
)

// notInID matches what an SPDX identifier cannot have.
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// sbom returns the SPDX document of an image or a program: the programs in it, and the
// modules that Go's linker has recorded in these. sha256 is the digest of the whole.
func sbom(from source, name, purpose, sha256, version string, files []string) ([]byte, error) {
	whole := describedPackage("Artifact", name, version, purpose)
	whole.LicenseDeclared = "Apache-2.0"
	whole.Checksums = []spdxChecksum{{"SHA256", sha256}}
	packages := map[string]spdxPackage{whole.ID: whole}
	relationships := map[spdxRelationship]bool{{documentID, "DESCRIBES", whole.ID}: true}

	for _, file := range files {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("SBOM of %s: %w", name, err)
		}
		digest, err := fileDigest(file)
		if err != nil {
			return nil, err
		}
		// The directory of a program is named after its platform.
		program := describedPackage("Program", filepath.Base(file)+" for "+filepath.Base(filepath.Dir(file)), version, "APPLICATION")
		program.LicenseDeclared = "Apache-2.0"
		program.Checksums = []spdxChecksum{{"SHA256", digest}}
		packages[program.ID] = program
		relationships[spdxRelationship{whole.ID, "CONTAINS", program.ID}] = true

		depend := func(path, version string) {
			module := describedPackage("Module", path, version, "LIBRARY")
			module.References = []spdxReference{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")}}
			packages[module.ID] = module
			relationships[spdxRelationship{program.ID, "DEPENDS_ON", module.ID}] = true
		}
		depend("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
		depend(info.Main.Path, "v"+version)
		for _, module := range info.Deps {
			if module.Replace != nil {
				module = module.Replace
			}
			depend(module.Path, module.Version)
		}
	}

	document := spdxDocument{
		Version:   "SPDX-2.3",
		License:   "CC0-1.0",
		ID:        documentID,
		Name:      name,
		Namespace: repository + "/sbom/" + name + "-" + sha256,
		Creation:  spdxCreation{from.time.Format(time.RFC3339), []string{"Organization: confcom", "Tool: confcom-release"}},
	}
	for _, id := range slices.Sorted(maps.Keys(packages)) {
		document.Packages = append(document.Packages, packages[id])
	}
	document.Relationships = slices.SortedFunc(maps.Keys(relationships), func(a, b spdxRelationship) int {
		return slices.Compare([]string{a.Element, a.Type, a.Related}, []string{b.Element, b.Type, b.Related})
	})
	return json.MarshalIndent(document, "", "  ")
}

func describedPackage(kind, name, version, purpose string) spdxPackage {
	return spdxPackage{
		ID:               "SPDXRef-" + kind + "-" + notInID.ReplaceAllString(name+"-"+version, "-"),
		Name:             name,
		Version:          version,
		Purpose:          purpose,
		Location:         noAssertion,
		LicenseConcluded: noAssertion,
		LicenseDeclared:  noAssertion,
		Copyright:        noAssertion,
	}
}
