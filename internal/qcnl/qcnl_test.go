package qcnl

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const good = `"pccs_url": "https://pccs.example/sgx/certification/v4/"`
	for _, c := range []struct {
		name, text string
		line       int
		want       string // part of the one finding; empty: no finding
	}{
		{"good", `{` + good + `}`, 0, ""},
		{"everything", `{` + good + `, "use_secure_cert": true, "collateral_service": "https://api.trustedservices.intel.com/sgx/certification/v4/", "tcb_update_type": "Early",
			"pccs_api_version": "3.1", "retry_times": 3, "retry_delay": 5, "local_pck_url": "http://localhost:8081/sgx/certification/v4/", "pck_cache_expire_hours": 168,
			"verify_collateral_cache_expire_hours": 24.5, "local_cache_only": false, "custom_request_options": {"get_cert": {"headers": {"a": "b"}, "params": {"c": "d"}}}}`, 0, ""},
		{"comments", "{ // a // comment\n /* and\n another */ " + good + ", \"use_secure_cert\": true }", 0, ""},
		{"unterminated comment", "{" + good + "} /* x", 1, "invalid JSON"},
		{"slashes in a string", `{` + good + `, "tcb_update_type": "standard"}`, 0, ""},
		{"missing comma", "{\n" + good + "\n\"use_secure_cert\": true\n}", 3, "invalid JSON"},
		{"extra comma", "{\n" + good + ",\n}", 3, "invalid JSON"},
		{"array", `["https://pccs.example/"]`, 1, "not a JSON object"},
		{"empty file", "", 1, "invalid JSON"},
		{"misspelt key", "{\n" + good + ",\n\"pcks_url\": 1}", 3, `unknown key "pcks_url"`},
		{"unknown key", "{\n" + good + ",\n\"colour\": 1}", 3, `known keys: collateral_service`},
		{"upper case", "{\n" + good + ",\n\"RETRY_TIMES\": 1}", 3, `write "retry_times"`},
		{"twice", "{\n" + good + ",\n" + good + "}", 3, "is already on line 2, and the provider uses that one"},
		{"string for a boolean", "{\n" + good + ",\n\"use_secure_cert\": \"false\"}", 3, "true or false, without quotes"},
		{"string for an integer", `{` + good + `, "retry_times": "3"}`, 1, "a whole number, without quotes"},
		{"fraction for an integer", `{` + good + `, "retry_times": 1.5}`, 1, "a whole number, without quotes"},
		{"integer too large", `{` + good + `, "retry_delay": 2147483648}`, 1, "a whole number, without quotes"},
		{"number for a string", `{` + good + `, "pccs_api_version": 3.1}`, 1, "a quoted string"},
		{"null", `{` + good + `, "local_pck_url": null}`, 1, "a quoted string"},
		{"integer too large for a fraction", `{` + good + `, "pck_cache_expire_hours": 2147483648}`, 1, "a number, without quotes"},
		{"no URL", `{}`, 0, "no pccs_url"},
		{"another path", `{"pccs_url": "https://pccs.example/"}`, 1, "end it with /sgx/certification/v4/"},
		{"no slash at the end", `{"pccs_url": "https://pccs.example/sgx/certification/v4"}`, 1, "including the last slash"},
		{"old version", `{"pccs_url": "https://pccs.example/sgx/certification/v3/"}`, 1, "discontinued"},
		{"no scheme", `{"pccs_url": "pccs.example"}`, 1, "not the URL of a service"},
		{"no TLS", `{"pccs_url": "http://pccs.example/sgx/certification/v4/"}`, 1, "does not use TLS"},
		{"this machine", `{"pccs_url": "https://localhost:8081/sgx/certification/v4/"}`, 1, "unless one runs here"},
		{"no TLS check", `{` + good + `, "use_secure_cert": false}`, 1, "not verified"},
		{"unknown API version", `{` + good + `, "pccs_api_version": "4"}`, 1, "3.0 or 3.1"},
		{"unknown update type", `{` + good + `, "tcb_update_type": "late"}`, 1, "ignores the whole file"},
		{"long retries", `{` + good + `, "retry_times": 6, "retry_delay": 10}`, 1, "60 seconds"},
		{"long retries, doubling", `{` + good + `, "retry_times": 6}`, 1, "63 seconds"},
		{"endless retries", `{` + good + `, "retry_times": -1}`, 1, "retries forever"},
		{"endless delay", `{` + good + `, "retry_delay": -1}`, 1, "waits forever"},
		{"cached too long", `{` + good + `, "pck_cache_expire_hours": 2161}`, 1, "limits to 2160"},
		{"cached for a negative time", `{` + good + `, "pck_cache_expire_hours": -1}`, 1, "between 0 and 2160"},
		{"cache only", `{"local_cache_only": true}`, 1, "uses no service"},
		{"THIM", `{` + good + `, "local_pck_url": "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"}`, 1, "custom_request_options"},
		{"another request", `{` + good + `, "custom_request_options": {"get_crl": {}}}`, 1, `"get_crl"`},
		{"another option", `{` + good + `, "custom_request_options": {"get_cert": {"header": {}}}}`, 1, `write "headers"`},
		{"array for an object", `{` + good + `, "custom_request_options": []}`, 1, "an object"},
		{"number in a header", `{` + good + `, "custom_request_options": {"get_cert": {"headers": {"a": 1}}}}`, 1, "a quoted string"},
		{"old format", "# old\nPCCS_URL=https://pccs.example/sgx/certification/v4/\n", 0, "reads PCCS_URL"},
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
				t.Errorf("found %v, want %q on line %d", findings, c.want, c.line)
			}
		})
	}
}

// Parse returns the same configuration as the provider reads.
func TestConfig(t *testing.T) {
	const url = "https://pccs.example/sgx/certification/v4/"
	changed := func(change func(*Config)) Config {
		c := Default()
		c.PCCSURL, c.CollateralService = url, url
		change(&c)
		return c
	}
	for _, c := range []struct {
		name, text string
		want       Config
	}{
		{"collateral from the PCCS", `{"pccs_url": "` + url + `"}`, changed(func(*Config) {})},
		{"collateral from another service", `{"pccs_url": "` + url + `", "collateral_service": "x"}`, changed(func(c *Config) { c.CollateralService = "x" })},
		{"invalid JSON", `{"pccs_url": "` + url + `",}`, Default()},
		{"array", `[]`, Default()},
		{"unknown update type", `{"pccs_url": "` + url + `", "tcb_update_type": "late"}`, Default()},
		{"the first of two", `{"pccs_url": "` + url + `", "pccs_url": "x"}`, changed(func(*Config) {})},
		{"at most 90 days", `{"pccs_url": "` + url + `", "pck_cache_expire_hours": 1e9}`, changed(func(c *Config) { c.PCKCacheHours = 2160 })},
		{"options of requests", `{"pccs_url": "` + url + `", "custom_request_options": {"get_cert": {"headers": {"metadata": "true"}, "params": {"a": "b"}}}}`,
			changed(func(c *Config) {
				c.Headers, c.Params = map[string]string{"metadata": "true"}, map[string]string{"a": "b"}
			})},
		{"the old format", "  PCCS_URL = " + url + "\nUSE_SECURE_CERT=FALSE\nRETRY_TIMES=3 times\nPCK_CACHE_EXPIRE_HOURS=1.5\nLOCAL_CACHE_ONLY=yes\n",
			changed(func(c *Config) { c.UseSecureCert, c.RetryTimes, c.PCKCacheHours = false, 3, 1 })},
	} {
		if got, _ := Parse([]byte(c.text)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func ExampleParse() {
	config, findings := Parse([]byte(`{
		// the next line should end with a comma
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
	f.Add([]byte("PCCS_URL=https://localhost/\n# x\nRETRY_TIMES=-1"))
	f.Add([]byte(`{"pccs_url": "x" /* "*/, "a": "\"" // }`))
	f.Fuzz(func(t *testing.T, text []byte) { Parse(text) })
}
