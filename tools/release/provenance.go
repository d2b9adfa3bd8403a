package main

import (
	"encoding/json"
)

// provenanceFile is missing in a release for trials.
const provenanceFile = "provenance.json"

// The members of an in-toto statement with SLSA (Supply-chain Levels for Software
// Artifacts) provenance that ours has.
type (
	statement struct {
		Type          string     `json:"_type"`
		Subject       []resource `json:"subject"`
		PredicateType string     `json:"predicateType"`
		Predicate     provenance `json:"predicate"`
	}
	resource struct {
		Name   string            `json:"name,omitempty"`
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest,omitempty"`
	}
	provenance struct {
		Definition buildDefinition `json:"buildDefinition"`
		Details    runDetails      `json:"runDetails"`
	}
	buildDefinition struct {
		Type         string             `json:"buildType"`
		External     externalParameters `json:"externalParameters"`
		Internal     internalParameters `json:"internalParameters"`
		Dependencies []resource         `json:"resolvedDependencies"`
	}
	externalParameters struct {
		Target   string `json:"target"`
		Version  string `json:"version"`
		Registry string `json:"registry"`
	}
	internalParameters struct {
		Go string `json:"go"`
	}
	runDetails struct {
		Builder builder `json:"builder"`
	}
	builder struct {
		ID string `json:"id"`
	}
)

// provenanceOf returns the statement of how the subjects were built. It is not signed and
// names no machine and no time, because anybody who builds the commit gets the same. Who
// signs it vouches for it.
func provenanceOf(from source, version, registry, goVersion string, subjects []resource) ([]byte, error) {
	return json.MarshalIndent(statement{
		Type:          "https://in-toto.io/Statement/v1",
		Subject:       subjects,
		PredicateType: "https://slsa.dev/provenance/v1",
		Predicate: provenance{
			Definition: buildDefinition{
				Type:         repository + "/make-release/v1",
				External:     externalParameters{"release", version, registry},
				Internal:     internalParameters{goVersion},
				Dependencies: []resource{{URI: "git+" + repository, Digest: map[string]string{"gitCommit": from.commit}}},
			},
			Details: runDetails{builder{repository + "/make-release"}},
		},
	}, "", "  ")
}
