// Package qcnl reads the configuration of Intel's default quote provider,
// /etc/sgx_default_qcnl.conf, as the provider does, and says what is wrong with it.
//
// The provider itself says nothing. It ignores keys that it does not know and
// values of another type, and falls back to its defaults where the file is no
// valid JSON: a PCCS on this very machine. So a missing comma shows as a network
// error, much later.
package qcnl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Path is where the provider looks, in this environment.
func Path() string { return cmp.Or(os.Getenv("QCNL_CONF_PATH"), "/etc/sgx_default_qcnl.conf") }

// Config is what the provider works with. Its keys are those of the file.
type Config struct {
	PCCSURL           string  `json:"pccs_url"`
	UseSecureCert     bool    `json:"use_secure_cert"`
	CollateralService string  `json:"collateral_service"`
	TCBUpdateType     string  `json:"tcb_update_type"`
	PCCSAPIVersion    string  `json:"pccs_api_version"`
	RetryTimes        int     `json:"retry_times"`
	RetryDelay        int     `json:"retry_delay"` // seconds
	LocalPCKURL       string  `json:"local_pck_url"`
	PCKCacheHours     float64 `json:"pck_cache_expire_hours"`
	VerifyCacheHours  float64 `json:"verify_collateral_cache_expire_hours"`
	LocalCacheOnly    bool    `json:"local_cache_only"`
	// CustomRequestOptions are headers and parameters for the provider's requests.
	CustomRequestOptions json.RawMessage `json:"custom_request_options"`
}

// Default is what the provider works with where the file says nothing.
func Default() Config {
	return Config{PCCSURL: "https://localhost:8081/sgx/certification/v4/", UseSecureCert: true}
}

// Finding is something that is wrong with a configuration, or remarkable.
type Finding struct {
	Line   int // in the file; 0 for all of it
	Text   string
	Remedy string
	// Note is whether it may well be meant so.
	Note bool
}

func (f Finding) String() string {
	where := ""
	if f.Line > 0 {
		where = fmt.Sprintf("line %d: ", f.Line)
	}
	return where + f.Text + ": " + f.Remedy
}

// reader reads a configuration.
type reader struct {
	text     []byte
	findings []Finding
}

// Parse returns what the provider makes of a file, and what is wrong with that.
func Parse(text []byte) (Config, []Finding) {
	r := &reader{text: blank(text)}
	config := r.parse()
	return config, r.findings
}

func (r *reader) find(key, text, remedy string) {
	r.findings = append(r.findings, Finding{Line: r.lineOf(key), Text: text, Remedy: remedy})
}

func (r *reader) note(key, text, remedy string) {
	r.findings = append(r.findings, Finding{Line: r.lineOf(key), Text: text, Remedy: remedy, Note: true})
}

// lineOf is the line that a key is in.
func (r *reader) lineOf(key string) int {
	at := bytes.Index(r.text, []byte(`"`+key+`"`))
	if key == "" || at < 0 {
		return 0
	}
	return 1 + bytes.Count(r.text[:at], []byte("\n"))
}

func (r *reader) parse() Config {
	config := Default()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(r.text, &keys); err != nil {
		line := 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			line = 1 + bytes.Count(r.text[:min(int(syntax.Offset), len(r.text))], []byte("\n"))
		}
		r.findings = append(r.findings, Finding{Line: line,
			Text:   fmt.Sprintf("this is no valid JSON (%v), and the provider falls back to its defaults without a word: a PCCS at %s", err, config.PCCSURL),
			Remedy: "correct it; comments and keys in quotes are fine, a missing or an extra comma is not"})
		return config
	}
	values := map[string]any{
		"pccs_url": &config.PCCSURL, "use_secure_cert": &config.UseSecureCert, "collateral_service": &config.CollateralService,
		"tcb_update_type": &config.TCBUpdateType, "pccs_api_version": &config.PCCSAPIVersion, "retry_times": &config.RetryTimes,
		"retry_delay": &config.RetryDelay, "local_pck_url": &config.LocalPCKURL, "pck_cache_expire_hours": &config.PCKCacheHours,
		"verify_collateral_cache_expire_hours": &config.VerifyCacheHours, "local_cache_only": &config.LocalCacheOnly,
		"custom_request_options": &config.CustomRequestOptions,
	}
	names := make([]string, 0, len(keys))
	for key := range keys {
		names = append(names, key)
	}
	slices.Sort(names)
	for _, key := range names {
		value, known := values[key]
		if !known {
			r.find(key, fmt.Sprintf("the provider does not know %q, and ignores it", key), unknownRemedy(key, values))
		} else if err := json.Unmarshal(keys[key], value); err != nil {
			r.find(key, fmt.Sprintf("%s is of the wrong type (%s), and the provider ignores it", key, keys[key]), fmt.Sprintf("it has to be %s", typeOf(value)))
		}
	}
	r.check(&config, keys)
	return config
}

func unknownRemedy(key string, known map[string]any) string {
	lower := strings.ToLower(key)
	if _, ok := known[lower]; ok {
		return fmt.Sprintf("write %q: keys are in small letters", lower)
	}
	return "look for a misspelling; the known keys are in the file that the package libsgx-dcap-default-qpl installs"
}

func typeOf(value any) string {
	switch value.(type) {
	case *string:
		return `text in quotes`
	case *bool:
		return "true or false, without quotes"
	case *int:
		return "a whole number, without quotes"
	case *float64:
		return "a number, without quotes"
	}
	return "an object"
}

// check looks at the values themselves.
func (r *reader) check(c *Config, keys map[string]json.RawMessage) {
	if _, given := keys["pccs_url"]; given {
		r.checkURL("pccs_url", c.PCCSURL)
	} else {
		r.find("", "there is no pccs_url, so the provider asks "+c.PCCSURL, "set it to the PCCS of your cluster")
	}
	r.checkURL("local_pck_url", c.LocalPCKURL)
	r.checkURL("collateral_service", c.CollateralService)
	if !c.UseSecureCert {
		r.note("use_secure_cert", "TLS certificates are not checked", "set it to true where the PCCS has a certificate of a CA that this machine trusts")
	}
	if v := c.PCCSAPIVersion; v != "" && v != "3.0" && v != "3.1" {
		r.find("pccs_api_version", fmt.Sprintf("pccs_api_version is %q", v), "it has to be 3.0 or 3.1")
	}
	if v := c.TCBUpdateType; v != "" && v != "early" && v != "standard" {
		r.find("tcb_update_type", fmt.Sprintf("tcb_update_type is %q", v), "it has to be standard or early")
	}
	if total := c.RetryTimes * c.RetryDelay; total > 30 {
		r.note("retry_times", fmt.Sprintf("a request that fails is tried for %d seconds, and whoever waits for it longer than that", total),
			"fewer retry_times, or a shorter retry_delay: the quote helper asks again by itself")
	}
	const most = 2160
	if c.PCKCacheHours > most || c.PCKCacheHours < 0 {
		r.find("pck_cache_expire_hours", fmt.Sprintf("pck_cache_expire_hours is %v", c.PCKCacheHours), "it has to be between 0 and 2160, 90 days")
	}
	if c.LocalCacheOnly {
		r.note("local_cache_only", "the provider asks nobody, and has what was put into its cache beforehand", "set it to false unless this is meant")
	}
	const metadata = "169.254.169.254"
	if strings.Contains(c.LocalPCKURL, metadata) && !(bytes.Contains(c.CustomRequestOptions, []byte("metadata")) && bytes.Contains(c.CustomRequestOptions, []byte("api-version"))) {
		r.find("local_pck_url", "Azure's metadata service answers requests with the header \"metadata\" and the parameter \"api-version\" only", "set them in custom_request_options, under get_cert")
	}
}

func (r *reader) checkURL(key, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		r.find(key, fmt.Sprintf("%s is %q, which is no URL", key, text), "write it as https://pccs.example.org:8081/sgx/certification/v4/")
	case !strings.HasSuffix(u.Path, "/sgx/certification/v4/") && !strings.HasSuffix(u.Path, "/sgx/certification/v3/"):
		r.find(key, fmt.Sprintf("the path of %s is %q", key, u.Path), "it has to be /sgx/certification/v4/, with the slash at its end")
	case strings.HasSuffix(u.Path, "/v3/"):
		r.find(key, key+" is of version 3, which Intel has ended", "use /sgx/certification/v4/")
	case key == "pccs_url" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1"):
		r.note(key, "pccs_url is this machine, as in the file that the package installs", "set it to the PCCS of your cluster, unless one runs here; in a pod this means the pod itself")
	}
}

// URLs are the services that the provider asks for the certificates of a platform,
// in this order.
func (c Config) URLs() []string {
	if c.LocalCacheOnly {
		return nil
	}
	return slices.DeleteFunc([]string{c.LocalPCKURL, c.PCCSURL}, func(u string) bool { return u == "" })
}

// blank replaces comments, which JSON does not have and the provider takes, by as
// many spaces.
func blank(text []byte) []byte {
	out := slices.Clone(text)
	inString, i := false, 0
	wipe := func(end int) {
		for ; i < end; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
	}
	find := func(what string, extra int) int {
		if n := bytes.Index(out[i:], []byte(what)); n >= 0 {
			return i + n + extra
		}
		return len(out)
	}
	for i < len(out) {
		switch {
		case inString && out[i] == '\\':
			i++
		case out[i] == '"':
			inString = !inString
		case !inString && bytes.HasPrefix(out[i:], []byte("//")):
			wipe(find("\n", 0))
			continue
		case !inString && bytes.HasPrefix(out[i:], []byte("/*")):
			wipe(find("*/", len("*/")))
			continue
		}
		i++
	}
	return out
}
