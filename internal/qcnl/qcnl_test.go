package qcnl

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
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
		{"missing comma", "{\n" + good + "\n\"use_secure_cert\": true\n}", 3, "a missing comma before this line: no quotes with SGX_QL_CONFIG_INVALID_JSON (0xe067)"},
		{"extra comma", "{\n" + good + ",\n}", 3, "an extra comma before }"},
		{"array", `["https://pccs.example/"]`, 1, "not a JSON object"},
		{"empty file", "", 1, "the file is empty: the provider ignores all of it and uses its defaults"},
		{"nothing but a comment", "// {" + good + "}", 1, "nothing but comments"},
		{"ends too early", "{" + good, 1, "close all quotes and braces"},
		{"typographic quotes", "{\n“pccs_url”: “x”}", 2, "typographic quotes"},
		{"a typographic quote at the end", "{\n" + `"pccs_url": “x”}`, 2, "straight ones"},
		{"an open quote", "{\n\"pccs_url: 1,\n\"x\": 1}", 2, "quotes that are not closed on their line"},
		{"single quotes", "{'pccs_url': 'x'}", 1, "single quotes"},
		{"a shell's comment", "{\n# the PCCS\n" + good + "}", 2, "begin it with //"},
		{"a shell's comment at the end", "{" + good + " # the PCCS\n}", 1, "begin it with //"},
		{"YAML", "pccs_url: https://pccs.example/\nuse_secure_cert: true\n", 1, "looks like YAML"},
		{"YAML in quotes", "\"pccs_url\": \"https://pccs.example/\"\n", 1, "looks like YAML"},
		{"Python", "{" + good + ",\n\"use_secure_cert\": False}", 2, "true or false, in small letters"},
		{"the first setting is a comment", "{\n//" + good + "\n, \"use_secure_cert\": true}", 3, "the setting before it is missing, or a comment"},
		{"a mistake behind a comment", "// PCCS\n{" + good + ",}", 2, "{ is not the first character of the file: the provider ignores all of it"},
		{"a byte order mark", "\ufeff{" + good + "}", 1, "byte order mark: the provider ignores all of it and uses its defaults"},
		{"UTF-16", "\xff\xfe{\x00}\x00", 1, "iconv"},
		{"UTF-16 without a mark", "{\x00}\x00", 1, "iconv"},
		{"too long a line", `{"pccs_url": "https://pccs.example/sgx/certification/v4/\n"}`, 1, "contains a blank"},
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
		{"only to verify", `{"collateral_service": "https://pccs.example/sgx/certification/v4/"}`, 0, "only serves to verify"},
		{"another path", `{"pccs_url": "https://pccs.example/"}`, 1, "end it with /sgx/certification/v4/"},
		{"no slash at the end", `{"pccs_url": "https://pccs.example/sgx/certification/v4"}`, 1, "end it with a slash"},
		{"old version", `{"pccs_url": "https://pccs.example/sgx/certification/v3/"}`, 1, "discontinued"},
		{"no scheme", `{"pccs_url": "pccs.example"}`, 1, "does not begin with https://"},
		{"no TLS", `{"pccs_url": "http://pccs.example/sgx/certification/v4/"}`, 1, "does not use TLS"},
		{"this machine", `{"pccs_url": "https://localhost:8081/sgx/certification/v4/"}`, 1, "unless one runs here"},
		{"no TLS check", `{` + good + `, "use_secure_cert": false}`, 1, "not verified"},
		{"unknown API version", `{` + good + `, "pccs_api_version": "4"}`, 1, "3.0 or 3.1"},
		{"unknown update type", `{` + good + `, "tcb_update_type": "late"}`, 1, "ignores the whole file"},
		{"the retries of the file that the package installs", `{` + good + `, "retry_times": 6, "retry_delay": 10}`, 0, ""},
		{"long retries", `{` + good + `, "retry_times": 6, "retry_delay": 11}`, 1, "66 seconds"},
		{"long retries, doubling", `{` + good + `, "retry_times": 6}`, 1, "63 seconds"},
		{"endless retries", `{` + good + `, "retry_times": -1}`, 1, "retries forever"},
		{"endless delay", `{` + good + `, "retry_delay": -1}`, 1, "waits forever"},
		{"cached too long", `{` + good + `, "pck_cache_expire_hours": 2161}`, 1, "limits to 2160"},
		{"cached for a negative time", `{` + good + `, "pck_cache_expire_hours": -1}`, 1, "between 0 and 2160"},
		{"cache only", `{"local_cache_only": true}`, 1, "uses no service"},
		{"THIM", `{` + good + `, "local_pck_url": "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"}`, 1, "custom_request_options"},
		{"THIM alone", `{"pccs_url": "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"}`, 1, "refuses requests without the header"},
		{"THIM as Azure's documentation has it", `{` + good + `, "local_pck_url": "http://169.254.169.254/metadata/THIM/sgx/certification/v4/",
			"custom_request_options": {"get_cert": {"headers": {"metadata": "true"}, "params": {"api-version": "2021-07-22-preview"}}}}`, 0, ""},
		{"a blank in a parameter, as in an example of Microsoft", `{` + good + `, "local_pck_url": "http://169.254.169.254/metadata/THIM/sgx/certification/v4/",
			"custom_request_options": {"get_cert": {"headers": {"metadata": "true"}, "params": {"api-version  ": "1"}}}}`, 2, `libcurl refuses every URL with it: write "api-version"`},
		{"a blank in its value", `{` + good + `, "custom_request_options": {"get_cert": {"params": {"a": "b c"}}}}`, 1, "as %20"},
		{"a blank in a header", `{` + good + `, "custom_request_options": {"get_cert": {"headers": {"meta data": "true"}}}}`, 1, "no name of a header"},
		{"a header of two lines", `{` + good + `, "custom_request_options": {"get_cert": {"headers": {"a": "b\nc"}}}}`, 1, "several lines"},
		{"one service twice", `{` + good + `, "local_pck_url": "https://pccs.example/sgx/certification/v4/"}`, 1, "asks the same service twice"},
		{"no first service", `{` + good + `, "local_pck_url": ""}`, 0, ""},
		{"Intel's service", `{"pccs_url": "https://api.trustedservices.intel.com/sgx/certification/v4/"}`, 1, "Ocp-Apim-Subscription-Key"},
		{"Intel's service with a key", `{"pccs_url": "https://api.trustedservices.intel.com/sgx/certification/v4/",
			"custom_request_options": {"get_cert": {"headers": {"ocp-apim-subscription-key": "x"}}}}`, 1, "pck_cache_expire_hours"},
		{"Azure's service without a TLS check", `{"pccs_url": "https://global.acccache.azure.net/sgx/certification/v4/", "use_secure_cert": false}`, 1, "every machine trusts"},
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

// urls are the base URLs of services, and part of the error in them.
func urls() []struct{ url, problem string } {
	return []struct{ url, problem string }{
		{"https://pccs.example/sgx/certification/v4/", ""},
		{"https://pccs/sgx/certification/v4/", ""},
		{"https://10.0.0.1:8081/sgx/certification/v4/", ""},
		{"https://[2001:db8::1]:8081/sgx/certification/v4/", ""},
		{"https://pccs.example:8081/behind/a/proxy/sgx/certification/v4/", ""},
		{"http://pccs.confcom-system.svc.cluster.local:8081/sgx/certification/v4/", ""},
		{"https://global.acccache.azure.net/sgx/certification/v4/", ""},
		{"https://global.acccache.azure.net/sgx/certification/v3/", ""}, // a warning
		{"https://sharedeus2.eus2.attest.azure.net/sgx/certification/v3/", ""},
		{"https://pccs_1:8081/sgx/certification/v4/", ""},
		{"", "empty"},
		{`https://pccs.example/sgx/certification/v4/\nUSE_SECURE_CERT=FALSE`, `what follows, "USE_SECURE_CERT=FALSE", belong to it`},
		{`"https://pccs.example/sgx/certification/v4/"`, "quotes"},
		{" https://pccs.example/sgx/certification/v4/", "blank"},
		{"https://pccs.example/sgx/certification/v4/ ", "blank"},
		{"https://pccs.example/sgx/ certification/v4/", "blank"},
		{"https://pccs.example/sgx/certification/v4/\n", "blank"},
		{"https://pccs.example/sgx/certification/v4/\u200b", "U+200B"},
		{"https://pccs.example\u00a0/sgx/certification/v4/", "U+00A0"},
		{"“https://pccs.example/sgx/certification/v4/”", "U+201C"},
		{"https://<pccs-ip>:8081/sgx/certification/v4/", "placeholder <pccs-ip>"},
		{"<pccs_url>", "placeholder <pccs_url>"},
		{"https://sgx-dcap-server.[Region-ID].aliyuncs.com/sgx/certification/v4/", "placeholder [Region-ID]"},
		{"https://$pccsIP:$pccsPort/sgx/certification/v4/", "placeholder $pccsIP"},
		{"${PCCS_URL}/sgx/certification/v4/", "placeholder ${PCCS_URL}"},
		{"https://{{ .host }}/sgx/certification/v4/", "blank"},
		{"https://{{.host}}/sgx/certification/v4/", "placeholder {{.host}}"},
		{"https://YOUR_PCCS:8081/sgx/certification/v4/", "placeholder YOUR_PCCS"},
		{"https://a.example/sgx/certification/v4/,https://b.example/sgx/certification/v4/", "more than one URL"},
		{"https://a.example/sgx/certification/v4/https://b.example/sgx/certification/v4/", "more than one URL"},
		{"https://a.example/sgx/certification/v4/;b.example", "more than one URL"},
		{"pccs.example:8081/sgx/certification/v4/", "begin with https://"},
		{"//pccs.example/sgx/certification/v4/", "begin with https://"},
		{"ftp://pccs.example/sgx/certification/v4/", "ftp://"},
		{"https:///sgx/certification/v4/", "no host"},
		{"https://pccs.example:/sgx/certification/v4/", "port"},
		{"https://pccs.example:0/sgx/certification/v4/", "port"},
		{"https://pccs.example:80810/sgx/certification/v4/", "port"},
		{"https://pccs.example:port/sgx/certification/v4/", "port"},
		{"https://pccs.example/sgx/certification/v4/?api-version=1", "nothing may follow"},
		{"https://pccs.example/sgx/certification/v4/#x", "nothing may follow"},
		{"https://pccs.example", "last slash"},
		{"https://pccs.example/", "last slash"},
		{"https://pccs.example/sgx/certification/v4", "end it with a slash"},
		{"https://pccs.example/sgx/certification/v4/pckcert", "nothing may follow the version"},
		{"https://pccs.example/sgx/certification/v4/sgx/certification/v4/", "twice"},
		{"https://pccs.example/sgx/certification/v4//sgx/certification/v4/", "twice"},
		{"https://pccs.example//sgx/certification/v4/", "//"},
		{"https://pccs.example/sgx/certification/v4//", "//"},
		{"https://pccs.example/tdx/certification/v4/", "TDX"},
		{"https://pccs.example/sgx/certification/v3/", "discontinued"},
		{"https://api.trustedservices.intel.com/sgx/certification/v3/", "discontinued"},
		{"https://localhost:9443/scs/sgx/certification/v1/", "version 1"},
		{"https://PCCS_1.example:8081/sgx/certification/v4/", ""},
		{"https://pccs.example/a:b+c/sgx/certification/v4/", ""},
		{"https://pccs.example/a%20b/sgx/certification/v4/", ""},
		{"https://[::1]/sgx/certification/v4/", ""},
		{"https://[1:2:3:4:5:6:7:8]/sgx/certification/v4/", ""},
		{"https://pccs.example/%zz/sgx/certification/v4/", "escape"},
		{"https://pccs.example/PATH_TO/sgx/certification/v4/", "placeholder PATH_TO"},
		{"https://[1]/sgx/certification/v4/", "invalid host"},
		{"https://[:::]/sgx/certification/v4/", "invalid host"},
		{"https://[1::2::3]/sgx/certification/v4/", "invalid host"},
		{"https://[1:2:3:4:5:6:7:8:9]/sgx/certification/v4/", "invalid host"},
		{"https://169.254.169.254/metadata/THIM/sgx/certification/v4/", "TLS"},
		{"http://169.254.169.254/sgx/certification/v4/", "another path"},
	}
}

func TestURL(t *testing.T) {
	for _, c := range urls() {
		l := &linter{lines: map[string]int{}}
		l.checkURL("collateral_service", c.url)
		got := errorsIn(c.url)
		for _, f := range l.findings {
			if f.Remedy == "" {
				t.Errorf("%q: %v has no remedy", c.url, f)
			}
		}
		if (got == "") != (c.problem == "") || !strings.Contains(got, c.problem) {
			t.Errorf("%q: %q, want %q", c.url, got, c.problem)
		}
	}
	for _, c := range []struct {
		url      string
		severity Severity
		want     string
	}{
		{"https://global.acccache.azure.net/sgx/certification/v3/", Warning, "/v4/"},
		{"http://pccs.example/sgx/certification/v4/", Warning, "TLS"},
		{"https://pccs.example.org/sgx/certification/v4/", Warning, "example"},
		{"https://localhost/sgx/certification/v4/", Note, "this machine"},
		{"http://127.0.0.1/sgx/certification/v4/", Note, "this machine"},
	} {
		l := &linter{lines: map[string]int{}}
		l.checkURL("pccs_url", c.url)
		if len(l.findings) != 1 || l.findings[0].Severity != c.severity || !strings.Contains(l.findings[0].String(), c.want) {
			t.Errorf("%s: %v, want a %s about %s", c.url, l.findings, c.severity, c.want)
		}
	}
	for _, url := range []string{"https://me:secret@pccs.example/", "https://me:secret@pccs.example/sgx/certification/v3/"} {
		l := &linter{lines: map[string]int{}}
		if l.checkURL("pccs_url", url); len(l.findings) != 1 || strings.Contains(l.findings[0].String(), "secret") {
			t.Errorf("%v shows a password", l.findings)
		}
	}
	l := &linter{lines: map[string]int{}}
	if l.checkURL("local_pck_url", "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"); len(l.findings) > 0 {
		t.Errorf("Azure's metadata service: %v", l.findings)
	}
}

// schema is the part of JSON Schema that the chart uses for the quote provider.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	AnyOf      []*schema          `json:"anyOf"`
	AllOf      []*schema          `json:"allOf"`
	Not        *schema            `json:"not"`
	Pattern    string             `json:"pattern"`
	Minimum    float64            `json:"minimum"`
	Maximum    float64            `json:"maximum"`
}

// accepts reports whether a text is valid.
func (s *schema) accepts(text string) bool {
	refuses := func(s *schema) bool { return !s.accepts(text) }
	switch {
	case s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text),
		s.Not != nil && s.Not.accepts(text),
		len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(s *schema) bool { return s.accepts(text) }):
		return false
	}
	return !slices.ContainsFunc(s.AllOf, refuses)
}

// chartProvider returns the chart's schema of the values for the quote provider.
func chartProvider(t testing.TB) map[string]*schema {
	t.Helper()
	text, err := os.ReadFile("../../charts/confcom/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root.Properties["dcap"].Properties["provider"].Properties
}

// chartURL returns the chart's schema of a URL that is not empty.
func chartURL(t testing.TB) *schema { return chartProvider(t)["pccsURL"].AnyOf[1] }

// errorsIn returns the errors that the lint finds in a URL.
func errorsIn(url string) (all string) {
	l := &linter{lines: map[string]int{}}
	l.checkURL("pccs_url", url)
	for _, f := range l.findings {
		if f.Severity == Error {
			all += f.String()
		}
	}
	return all
}

// The chart accepts the URLs in which there is no error.
func TestChart(t *testing.T) {
	chart := chartURL(t)
	for _, c := range urls() {
		if accepted := chart.accepts(c.url); accepted != (errorsIn(c.url) == "") {
			t.Errorf("the chart accepts %q: %t, the lint finds %q", c.url, accepted, errorsIn(c.url))
		}
	}
	// The chart does not take every URL that works: not a password, which would be in a
	// ConfigMap, and not Azure's metadata service, which azureTHIM sets with its headers.
	for _, url := range []string{"https://me:secret@pccs.example/sgx/certification/v4/", "http://169.254.169.254/metadata/THIM/sgx/certification/v4/"} {
		if chart.accepts(url) {
			t.Errorf("the chart accepts %q", url)
		}
	}
	hours := chartProvider(t)["cacheHours"]
	for _, c := range []struct{ hours, outside float64 }{{hours.Minimum, hours.Minimum - 1}, {hours.Maximum, hours.Maximum + 1}} {
		inside, outside := &linter{lines: map[string]int{}}, &linter{lines: map[string]int{}}
		inside.checkHours("pck_cache_expire_hours", c.hours)
		outside.checkHours("pck_cache_expire_hours", c.outside)
		if len(inside.findings) > 0 || len(outside.findings) == 0 {
			t.Errorf("%v hours: %v; %v hours: %v", c.hours, inside.findings, c.outside, outside.findings)
		}
	}
}

// The chart accepts no URL in which there is an error.
func FuzzChart(f *testing.F) {
	chart := chartURL(f)
	for _, c := range urls() {
		f.Add(c.url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if found := errorsIn(url); found != "" && chart.accepts(url) {
			t.Errorf("the chart accepts %q, the lint finds %q", url, found)
		}
	})
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
