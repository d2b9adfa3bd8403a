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
	Error   Severity = "error"   // the provider does not do what the file says, or gets no certificates
	Warning Severity = "warning" // it works, but hardly as it is meant
	Note    Severity = "note"    // it may well be meant so
)

// Finding is something that is wrong with a configuration, or remarkable.
type Finding struct {
	Line     int // in the file; 0 for all of it
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
	lines    map[string]int // of the keys that the file has
}

func (l *linter) add(line int, severity Severity, text, remedy string) {
	l.findings = append(l.findings, Finding{Line: line, Severity: severity, Text: text, Remedy: remedy})
}

// find adds a finding about a key.
func (l *linter) find(key string, severity Severity, text, remedy string) {
	l.add(l.lines[key], severity, text, remedy)
}

// ignored says that the provider ignores a value.
func (l *linter) ignored(m member, kind string) {
	value := []rune(string(m.value))
	if len(value) > 40 {
		value = append(value[:40], '…')
	}
	l.add(m.line, Error, fmt.Sprintf("%s is %s, which the provider does not take: it ignores that", m.key, string(value)), "it has to be "+kind)
}

// unknown says that the provider ignores a key, and which one may be meant.
func (l *linter) unknown(line int, key string, known []string) {
	text := fmt.Sprintf("the provider does not know %q, and ignores it", key)
	slices.Sort(known)
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
	switch {
	case strings.EqualFold(key, nearest):
		l.add(line, Error, text, fmt.Sprintf("write %q: capital and small letters differ", nearest))
	case distance(key, nearest) <= len(nearest)/3:
		l.add(line, Error, text, fmt.Sprintf("write %q, if that is meant", nearest))
	default:
		l.add(line, Warning, text, "remove it; what there is: "+strings.Join(known, ", "))
	}
}

// distance is how many letters have to be added, removed or changed to get from one
// word to another. Case does not count.
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

// kindOf says of which kind the value of a setting has to be.
func kindOf(setting any) string {
	switch setting.(type) {
	case *bool:
		return "true or false, without quotes"
	case *int:
		return "a whole number, without quotes"
	case *float64:
		return "a number, without quotes"
	}
	return "text in quotes"
}

const (
	maxCacheHours = 2160 // 90 days
	metadata      = "169.254.169.254"
)

// check looks at the values themselves.
func (l *linter) check(c *Config) {
	if !c.LocalCacheOnly {
		if l.lines["pccs_url"] > 0 {
			l.checkURL("pccs_url", c.PCCSURL)
		} else {
			l.add(0, Warning, "there is no pccs_url, so the provider asks "+c.PCCSURL, "set it to the PCCS of your cluster")
		}
		if c.LocalPCKURL != "" {
			l.checkURL("local_pck_url", c.LocalPCKURL)
		}
		l.checkMetadata(c)
	} else {
		l.find("local_cache_only", Note, "the provider asks nobody, and has what was put into its cache beforehand", "set local_cache_only to false unless this is meant")
	}
	if l.lines["collateral_service"] > 0 {
		l.checkURL("collateral_service", c.CollateralService)
	}
	if !c.UseSecureCert {
		l.find("use_secure_cert", Warning, "TLS certificates are not checked", "set use_secure_cert to true where the PCCS has a certificate of a CA that this machine trusts")
	}
	if v := c.PCCSAPIVersion; v != "3.0" && v != "3.1" {
		l.find("pccs_api_version", Error, fmt.Sprintf("pccs_api_version is %q, with which no quote can be verified here", v), "it has to be 3.0 or 3.1")
	}
	l.checkRetries(c)
	l.checkHours("pck_cache_expire_hours", c.PCKCacheHours)
	l.checkHours("verify_collateral_cache_expire_hours", c.VerifyCacheHours)
}

// checkRetries looks at how long a request may take: the provider has no time-out,
// and whoever wants a quote waits.
func (l *linter) checkRetries(c *Config) {
	if c.RetryTimes < 0 {
		l.find("retry_times", Error, fmt.Sprintf("retry_times is %d, and the provider tries for ever", c.RetryTimes), "it has to be 0 or more")
		return
	}
	if c.RetryDelay < 0 {
		l.find("retry_delay", Error, fmt.Sprintf("retry_delay is %d, and the provider waits for ever", c.RetryDelay), "it has to be 0 or more")
		return
	}
	seconds := c.RetryTimes * c.RetryDelay
	if c.RetryDelay == 0 {
		seconds = 1<<min(c.RetryTimes, 31) - 1 // 1 + 2 + 4...
	}
	if seconds >= 60 {
		l.find("retry_times", Warning, fmt.Sprintf("a request that fails is tried for %d seconds at least, and quotes wait for it", seconds),
			"fewer retry_times, or a shorter retry_delay: the quote helper asks again by itself")
	}
}

func (l *linter) checkHours(key string, hours float64) {
	switch {
	case hours < 0:
		l.find(key, Error, fmt.Sprintf("%s is %v, with which it cannot be told how long the provider keeps what it got", key, hours), "it has to be between 0 and 2160, which is 90 days")
	case hours > maxCacheHours:
		l.find(key, Warning, fmt.Sprintf("%s is %v, and the provider makes it 2160, which is 90 days", key, hours), "write 2160 or less")
	}
}

// checkURL looks at a URL that is the beginning of those that the provider asks for.
func (l *linter) checkURL(key, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		l.find(key, Error, fmt.Sprintf("%s is %q, which is no URL of a service", key, text), "write it as https://pccs.example.org:8081/sgx/certification/v4/")
		return
	}
	local := isLocal(u.Hostname())
	switch {
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v3"):
		l.find(key, Error, key+" is of version 3, which Intel has ended", "use "+path)
	case !strings.HasSuffix(u.Path, path) || !strings.HasSuffix(text, path):
		l.find(key, Error, fmt.Sprintf("%s is %q, and the provider puts the name of what it wants right behind that", key, text), "it has to end with "+path+", with the slash")
	case u.Scheme == "http" && !local:
		l.find(key, Warning, key+" is without TLS", "use https, unless the service has none")
	case key == "pccs_url" && local:
		l.find(key, Note, "pccs_url is this machine, as in the file that the package installs", "set it to the PCCS of your cluster, unless one runs here; in a pod this means the pod itself")
	}
}

// isLocal is true for this machine, and for what is beside it, as Azure's metadata
// service is.
func isLocal(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (address.IsLoopback() || address.IsLinkLocalUnicast())
}

// checkMetadata looks whether the metadata service of Azure is asked as it wants to be.
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
		l.find(key, Error, "Azure's metadata service only answers requests with the header \"metadata\", which is \"true\", and the parameter \"api-version\"",
			"set them in custom_request_options, under get_cert, in headers and params")
	}
}
