package verifyserver

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/confcom/confcom/attest"
)

// The schema of the chart's values has the members of policies and no others.
func TestChartSchema(t *testing.T) {
	text, err := os.ReadFile("../../charts/confcom/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for name, policy := range map[string]any{"policy": attest.Policy{}, "trustDomain": attest.TDPolicy{}, "masked": attest.Masked{}} {
		var members []string
		for _, field := range reflect.VisibleFields(reflect.TypeOf(policy)) {
			member, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			members = append(members, member)
		}
		slices.Sort(members)
		if got := slices.Sorted(maps.Keys(schema.Defs[name].Properties)); !slices.Equal(got, members) {
			t.Errorf("%s: the schema has %q, want %q", name, got, members)
		}
	}
}
