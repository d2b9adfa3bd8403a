package qcnl

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
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

const (
	maxCacheHours = 2160 // 90 days
	metadata      = "169.254.169.254"
)

// check checks the values of the settings.
func (l *linter) check(c *Config) {
	if !c.LocalCacheOnly {
		if l.lines["pccs_url"] > 0 {
			l.checkURL("pccs_url", c.PCCSURL)
		} else {
			l.add(0, Warning, "no pccs_url: the provider uses "+c.PCCSURL, "set it to your cluster's PCCS")
		}
		if c.LocalPCKURL != "" {
			l.checkURL("local_pck_url", c.LocalPCKURL)
		}
		l.checkMetadata(c)
	} else {
		l.find("local_cache_only", Note, "local_cache_only is true: the provider uses no service, only what is already in its cache", "set it to false unless you mean that")
	}
	if l.lines["collateral_service"] > 0 {
		l.checkURL("collateral_service", c.CollateralService)
	}
	if !c.UseSecureCert {
		l.find("use_secure_cert", Warning, "use_secure_cert is false: TLS certificates are not verified", "set it to true if this machine trusts the CA of the PCCS's certificate")
	}
	if v := c.PCCSAPIVersion; v != "3.0" && v != "3.1" {
		l.find("pccs_api_version", Error, fmt.Sprintf("pccs_api_version is %q: the provider cannot verify quotes with it", v), "set it to 3.0 or 3.1")
	}
	l.checkRetries(c)
	l.checkHours("pck_cache_expire_hours", c.PCKCacheHours)
	l.checkHours("verify_collateral_cache_expire_hours", c.VerifyCacheHours)
}

// checkRetries checks how long a request may take: the provider has no timeout, and
// quotes wait for it.
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
	if seconds >= 60 {
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

// checkURL checks the base URL of a service.
func (l *linter) checkURL(key, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		l.find(key, Error, fmt.Sprintf("%s is %q, which is not the URL of a service", key, text), "write it like https://pccs.example.org:8081/sgx/certification/v4/")
		return
	}
	local := isLocal(u.Hostname())
	switch {
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v3"):
		l.find(key, Error, key+" uses version 3 of the API, which Intel has discontinued", "use "+path)
	case !strings.HasSuffix(u.Path, path) || !strings.HasSuffix(text, path):
		l.find(key, Error, fmt.Sprintf("%s is %q, to which the provider appends the names of resources", key, text), "end it with "+path+", including the last slash")
	case u.Scheme == "http" && !local:
		l.find(key, Warning, key+" does not use TLS", "use https, if the service supports it")
	case key == "pccs_url" && local:
		l.find(key, Note, "pccs_url is this machine, as in the file that the package installs", "set it to your cluster's PCCS, unless one runs here; in a pod, this is the pod itself")
	}
}

// isLocal reports whether a host is this machine, or a link-local service such as Azure's
// metadata service.
func isLocal(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (address.IsLoopback() || address.IsLinkLocalUnicast())
}

// checkMetadata checks that requests to Azure's metadata service have the header and the
// parameter that it requires.
func (l *linter) checkMetadata(c *Config) {
	key := "local_pck_url"
	if !strings.Contains(c.LocalPCKURL, metadata) {
		key = "pccs_url"
		if !strings.Contains(c.PCCSURL, metadata) {
			return
		}
	}
	header := false
	for name, value := range c.Headers {
		header = header || strings.EqualFold(name, "metadata") && strings.EqualFold(value, "true")
	}
	if !header || c.Params["api-version"] == "" {
		l.find(key, Error, "Azure's metadata service requires the header \"metadata: true\" and the parameter \"api-version\"",
			"set them in custom_request_options, in headers and params of get_cert")
	}
}
