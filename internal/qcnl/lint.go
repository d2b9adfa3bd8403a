package qcnl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the provider ignores the setting, or gets no certificates
	Warning Severity = "warning" // it works, but probably not as intended
	Note    Severity = "note"    // it is unusual, but may be intended
)

// Finding is something in a configuration that is wrong or unusual.
type Finding struct {
	Line     int // in the file; 0 for the whole file
	Severity Severity
	Text     string
	Remedy   string
}

func (f Finding) String() string {
	where := ""
	if f.Line > 0 {
		where = fmt.Sprintf("line %d: ", f.Line)
	}
	return where + f.Text + ": " + f.Remedy
}

// linter collects findings.
type linter struct {
	findings []Finding
	lines    map[string]int // line numbers of the keys in the file
}

func (l *linter) add(line int, severity Severity, text, remedy string) {
	l.findings = append(l.findings, Finding{Line: line, Severity: severity, Text: text, Remedy: remedy})
}

// find adds a finding about a key.
func (l *linter) find(key string, severity Severity, text, remedy string) {
	l.add(l.lines[key], severity, text, remedy)
}

// ignored adds a finding about a value that the provider ignores.
func (l *linter) ignored(m member, kind string) {
	value := []rune(string(m.value))
	if len(value) > 40 {
		value = append(value[:40], '…')
	}
	l.add(m.line, Error, fmt.Sprintf("%s is %s, a value that the provider ignores", m.key, string(value)), "set it to "+kind)
}

// unknown adds a finding about a key that the provider ignores, with the key that may be
// meant.
func (l *linter) unknown(line int, key string, known []string) {
	text := fmt.Sprintf("unknown key %q, which the provider ignores", key)
	slices.Sort(known)
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
	switch {
	case strings.EqualFold(key, nearest):
		l.add(line, Error, text, fmt.Sprintf("write %q: keys are case-sensitive", nearest))
	case distance(key, nearest) <= len(nearest)/3:
		l.add(line, Error, text, fmt.Sprintf("write %q, if you mean that", nearest))
	default:
		l.add(line, Warning, text, "remove it; known keys: "+strings.Join(known, ", "))
	}
}

// distance returns how many letters must be added, removed or changed to turn one word
// into another, regardless of case.
func distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 64)]), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func keysOf(settings map[string]any) []string { return slices.Collect(maps.Keys(settings)) }

func upper(keys []string) []string {
	for i, key := range keys {
		keys[i] = strings.ToUpper(key)
	}
	return keys
}

// kindOf returns the kind of value that a setting takes.
func kindOf(setting any) string {
	switch setting.(type) {
	case *bool:
		return "true or false, without quotes"
	case *int:
		return "a whole number, without quotes"
	case *float64:
		return "a number, without quotes"
	}
	return "a quoted string"
}

const maxCacheHours = 2160 // 90 days

// check checks the values of the settings.
func (l *linter) check(c *Config) {
	if c.LocalCacheOnly {
		l.find("local_cache_only", Note, "local_cache_only is true: the provider uses no service, only what is already in its cache", "set it to false unless you mean that")
	} else {
		l.checkServices(c)
	}
	if l.lines["collateral_service"] > 0 {
		l.checkURL("collateral_service", c.CollateralService)
	}
	l.checkTLS(c)
	if v := c.PCCSAPIVersion; v != "3.0" && v != "3.1" {
		l.find("pccs_api_version", Error, fmt.Sprintf("pccs_api_version is %q: the provider cannot verify quotes with it", v), "set it to 3.0 or 3.1")
	}
	l.checkRetries(c)
	l.checkHours("pck_cache_expire_hours", c.PCKCacheHours)
	l.checkHours("verify_collateral_cache_expire_hours", c.VerifyCacheHours)
}

// checkServices checks the services that have the platform's certificates.
func (l *linter) checkServices(c *Config) {
	switch {
	case l.lines["pccs_url"] > 0:
		l.checkURL("pccs_url", c.PCCSURL)
		l.checkIntel(c)
	case l.lines["collateral_service"] > 0:
		l.add(0, Warning, "no pccs_url: this configuration only serves to verify quotes; for platform certificates the provider uses "+c.PCCSURL, "set it to your cluster's PCCS")
	default:
		l.add(0, Warning, "no pccs_url: the provider uses "+c.PCCSURL, "set it to your cluster's PCCS")
	}
	if c.LocalPCKURL == "" {
		l.checkMetadata("pccs_url", c.PCCSURL, Error, c)
		return
	}
	l.checkURL("local_pck_url", c.LocalPCKURL)
	if c.LocalPCKURL == c.PCCSURL {
		l.find("local_pck_url", Warning, "local_pck_url is the same as pccs_url: the provider asks the same service twice, and does not cache what the first request returns", "remove it")
	}
	l.checkMetadata("local_pck_url", c.LocalPCKURL, Warning, c)
}

// checkTLS checks that TLS certificates are verified where that matters.
func (l *linter) checkTLS(c *Config) {
	if c.UseSecureCert {
		return
	}
	const text = "use_secure_cert is false: TLS certificates are not verified"
	used := []string{c.CollateralService}
	if !c.LocalCacheOnly {
		used = append(used, c.URLs()...)
	}
	switch {
	case !slices.ContainsFunc(used, func(u string) bool { return !isHere(hostOf(u)) }):
		l.find("use_secure_cert", Note, text+", which matters little on this machine", "set it to true if this machine trusts the CA of the PCCS's certificate")
	case !slices.ContainsFunc(used, func(u string) bool { return !isIntel(hostOf(u)) && !isAzure(hostOf(u)) }):
		l.find("use_secure_cert", Warning, text, "set it to true: the services of Intel and Azure have certificates that every machine trusts")
	default:
		l.find("use_secure_cert", Warning, text, "set it to true if this machine trusts the CA of the PCCS's certificate")
	}
}

// checkIntel checks requests for the platform's certificates to Intel's own service (PCS),
// which is meant for caches.
func (l *linter) checkIntel(c *Config) {
	if !isIntel(hostOf(c.PCCSURL)) {
		return
	}
	const header = "Ocp-Apim-Subscription-Key"
	hasKey := false
	for name := range c.Headers {
		hasKey = hasKey || strings.EqualFold(name, header)
	}
	switch {
	case !hasKey:
		l.find("pccs_url", Warning, "pccs_url is Intel's own service, which has platform certificates only for subscribers", "use a PCCS, or set the header "+header+" in custom_request_options; to verify quotes, it needs none")
	case c.PCKCacheHours == 0:
		l.find("pccs_url", Warning, "pccs_url is Intel's own service and nothing is cached: it refuses those requests of the quoting library that have no PPID", "set pck_cache_expire_hours, for example to 168")
	}
}

// checkRetries checks how long a request may take: the provider has no timeout, and
// quotes wait for it. The file that the package installs retries for 60 seconds.
func (l *linter) checkRetries(c *Config) {
	if c.RetryTimes < 0 {
		l.find("retry_times", Error, fmt.Sprintf("retry_times is %d: the provider retries forever", c.RetryTimes), "set it to 0 or more")
		return
	}
	if c.RetryDelay < 0 {
		l.find("retry_delay", Error, fmt.Sprintf("retry_delay is %d: the provider waits forever", c.RetryDelay), "set it to 0 or more")
		return
	}
	seconds := c.RetryTimes * c.RetryDelay
	if c.RetryDelay == 0 {
		seconds = 1<<min(c.RetryTimes, 31) - 1 // 1 + 2 + 4...
	}
	if seconds > 60 {
		l.find("retry_times", Warning, fmt.Sprintf("the provider retries a failing request for at least %d seconds while quotes wait", seconds),
			"reduce retry_times or retry_delay: the quote helper retries anyway")
	}
}

func (l *linter) checkHours(key string, hours float64) {
	switch {
	case hours < 0:
		l.find(key, Error, fmt.Sprintf("%s is %v: how long the provider caches is undefined", key, hours), "set it to a value between 0 and 2160 (90 days)")
	case hours > maxCacheHours:
		l.find(key, Warning, fmt.Sprintf("%s is %v, which the provider limits to 2160 (90 days)", key, hours), "set it to 2160 or less")
	}
}

// checkOptions checks headers and parameters, which the provider puts into its requests
// as they are.
func (l *linter) checkOptions(line int, kind, name, value string) {
	const wholeURL = ", and libcurl refuses every URL with it"
	bad := func(text, allowed string) bool {
		return text == "" || strings.ContainsFunc(text, func(c rune) bool {
			isLetter := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
			return !isLetter && !strings.ContainsRune(allowed, c)
		})
	}
	switch {
	case kind == "headers" && bad(name, "!#$%&'*+-.^_`|~"): // RFC 9110
		l.add(line, Error, fmt.Sprintf("%q is no name of a header", name), "write it without blanks and punctuation")
	case kind == "headers" && strings.ContainsAny(value, "\r\n"):
		l.add(line, Error, fmt.Sprintf("the header %q has several lines", name), "write it on one line")
	case kind == "params" && bad(name, "-._~"):
		l.add(line, Error, fmt.Sprintf("the parameter %q has blanks or punctuation in its name%s", name, wholeURL), fmt.Sprintf("write %q", strings.TrimSpace(name)))
	case kind == "params" && bad(value, "-._~%:,;@!*'()/") && value != "":
		l.add(line, Error, fmt.Sprintf("the value %q of the parameter %q has characters that have a meaning in URLs%s", value, name, wholeURL), "encode them, such as a blank as %20")
	}
}

// checkMetadata checks that requests to Azure's metadata service have the header and the
// parameter that it requires.
func (l *linter) checkMetadata(key, address string, severity Severity, c *Config) {
	if hostOf(address) != metadata {
		return
	}
	header := false
	for name, value := range c.Headers {
		header = header || strings.EqualFold(name, "metadata") && strings.EqualFold(value, "true")
	}
	parameter := false
	for name, value := range c.Params { // blanks in a name are another finding
		parameter = parameter || strings.TrimSpace(name) == "api-version" && value != ""
	}
	if !header || !parameter {
		l.find(key, severity, "Azure's metadata service refuses requests without the header \"metadata: true\" and the parameter \"api-version\"",
			"set them in custom_request_options, in headers and params of get_cert")
	}
}
