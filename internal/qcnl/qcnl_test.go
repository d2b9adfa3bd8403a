package qcnl

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const good = `"pccs_url": "https://pccs.example/sgx/certification/v4/"`
	for _, c := range []struct {
		name, text string
		line       int
		want       string // of the one finding; none where empty
	}{
		{"good", `{` + good + `}`, 0, ""},
		{"comments", "{ // a // comment\n /* and\n another */ " + good + ", \"use_secure_cert\": true }", 0, ""},
		{"slashes in text", `{` + good + `, "tcb_update_type": "standard"}`, 0, ""},
		{"a missing comma", "{\n" + good + "\n\"use_secure_cert\": true\n}", 3, "no valid JSON"},
		{"the old format", "PCCS_URL=https://pccs.example/\n", 1, "no valid JSON"},
		{"nothing", "", 1, "no valid JSON"},
		{"an unknown key", "{\n" + good + ",\n\"pcks_url\": 1}", 3, `does not know "pcks_url"`},
		{"capitals", "{\n" + good + ",\n\"RETRY_TIMES\": 1}", 3, `write "retry_times"`},
		{"a wrong type", "{\n" + good + ",\n\"use_secure_cert\": \"false\"}", 3, "true or false, without quotes"},
		{"no URL", `{}`, 0, "there is no pccs_url"},
		{"another path", `{"pccs_url": "https://pccs.example/"}`, 1, "has to be /sgx/certification/v4/"},
		{"an old version", `{"pccs_url": "https://pccs.example/sgx/certification/v3/"}`, 1, "Intel has ended"},
		{"this machine", `{"pccs_url": "https://localhost:8081/sgx/certification/v4/"}`, 1, "unless one runs here"},
		{"no TLS check", `{` + good + `, "use_secure_cert": false}`, 1, "not checked"},
		{"a bad version", `{` + good + `, "pccs_api_version": "4"}`, 1, "3.0 or 3.1"},
		{"long retries", `{` + good + `, "retry_times": 6, "retry_delay": 10}`, 1, "60 seconds"},
		{"THIM", `{` + good + `, "local_pck_url": "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"}`, 1, "custom_request_options"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, findings := Parse([]byte(c.text))
			if c.want == "" {
				if len(findings) > 0 {
					t.Errorf("found %v", findings)
				}
				return
			}
			if len(findings) != 1 || findings[0].Line != c.line || !strings.Contains(findings[0].String(), c.want) {
				t.Errorf("found %v, want %q in line %d", findings, c.want, c.line)
			}
		})
	}
}

// What the provider falls back to is what it says.
func TestFallBack(t *testing.T) {
	config, _ := Parse([]byte(`{"pccs_url": "https://pccs.example/sgx/certification/v4/",}`))
	if config.PCCSURL != Default().PCCSURL {
		t.Errorf("%+v", config)
	}
}

func ExampleParse() {
	config, findings := Parse([]byte(`{
		// the comma at the end of the next line is missing
		"pccs_url": "https://pccs.example/sgx/certification/v4/"
		"use_secure_cert": true
	}`))
	fmt.Println(config.PCCSURL)
	fmt.Println("line", findings[0].Line)
	// Output:
	// https://localhost:8081/sgx/certification/v4/
	// line 4
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"pccs_url": "x" /* "*/, "a": "\"" // }`))
	f.Fuzz(func(t *testing.T, text []byte) { Parse(text) })
}
