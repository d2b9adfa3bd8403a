// Package qcnl reads the configuration of Intel's default quote provider,
// /etc/sgx_default_qcnl.conf, as the provider does, and reports what is wrong with it.
//
// The provider itself reports little. It ignores unknown keys and values of the wrong
// type. If the file is not valid JSON, it fails with one code, whatever the mistake, or
// falls back to its defaults: a PCCS (Provisioning Certificate Caching Service) on this
// machine. A byte order mark thus shows up as a network error, much later. (Source:
// QuoteGeneration/qcnl of Intel's DCAP 1.25, for Linux.)
//
//   - parse.go reads a file as the provider does.
//   - syntax.go says why a file is not JSON.
//   - lint.go checks the values, and url.go those that are URLs.
package qcnl

import (
	"cmp"
	"os"
	"slices"
)

// Path returns the path of the configuration file in this environment.
func Path() string { return cmp.Or(os.Getenv("QCNL_CONF_PATH"), "/etc/sgx_default_qcnl.conf") }

// Variables returns the names of the environment variables that decide what the providers
// of Intel and Azure do, and the libraries that they use: libcurl and the dynamic linker.
func Variables() []string {
	return []string{
		"QCNL_CONF_PATH", "SGX_AESM_ADDR", "LD_LIBRARY_PATH",
		"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
		"AZDCAP_BASE_CERT_URL", "AZDCAP_PRIMARY_BASE_CERT_URL", "AZDCAP_SECONDARY_BASE_CERT_URL", "AZDCAP_BYPASS_BASE_URL",
		"AZDCAP_CLIENT_ID", "AZDCAP_COLLATERAL_VERSION", "AZDCAP_DEBUG_LOG_LEVEL",
		"AZDCAP_CACHE", "XDG_CACHE_HOME", "HOME", "TMPDIR", // the first that is set has the cache
	}
}

// Config is the configuration in force: the settings of the file, and the provider's
// defaults for the rest.
type Config struct {
	PCCSURL           string // "pccs_url": the service that has the platform's certificates
	UseSecureCert     bool   // "use_secure_cert": verify TLS certificates
	CollateralService string // "collateral_service": the service that has collateral; by default the PCCS
	TCBUpdateType     string // "tcb_update_type": early or standard
	PCCSAPIVersion    string // "pccs_api_version": 3.0 encodes CRLs in hexadecimal, 3.1 in DER
	RetryTimes        int    // "retry_times": retries after the first attempt
	RetryDelay        int    // "retry_delay": in seconds; 0 means one second, doubled after each retry
	LocalPCKURL       string // "local_pck_url": the service used before the PCCS; empty for none

	PCKCacheHours    float64 // "pck_cache_expire_hours": at most 2160, which is 90 days
	VerifyCacheHours float64 // "verify_collateral_cache_expire_hours": at most 2160
	LocalCacheOnly   bool    // "local_cache_only": request no platform certificates from any service

	// Headers and Params are those of "get_cert" in "custom_request_options". They are
	// added to each request for the platform's certificates.
	Headers, Params map[string]string
}

const (
	path        = "/sgx/certification/v4/"
	defaultPCCS = "https://localhost:8081" + path
)

// Default returns the provider's defaults.
func Default() Config {
	return Config{
		PCCSURL: defaultPCCS, CollateralService: defaultPCCS, UseSecureCert: true,
		TCBUpdateType: "standard", PCCSAPIVersion: "3.0",
	}
}

// URLs returns the services from which the provider requests the platform's certificates,
// in this order. Quotes need no other service; verifying uses the CollateralService.
func (c Config) URLs() []string {
	if c.LocalCacheOnly {
		return nil
	}
	return slices.DeleteFunc([]string{c.LocalPCKURL, c.PCCSURL}, func(u string) bool { return u == "" })
}

// settings returns pointers to the settings of a configuration by their keys in the file,
// except for "custom_request_options".
func (c *Config) settings() map[string]any {
	return map[string]any{
		"pccs_url": &c.PCCSURL, "use_secure_cert": &c.UseSecureCert, "collateral_service": &c.CollateralService,
		"tcb_update_type": &c.TCBUpdateType, "pccs_api_version": &c.PCCSAPIVersion, "retry_times": &c.RetryTimes,
		"retry_delay": &c.RetryDelay, "local_pck_url": &c.LocalPCKURL, "pck_cache_expire_hours": &c.PCKCacheHours,
		"verify_collateral_cache_expire_hours": &c.VerifyCacheHours, "local_cache_only": &c.LocalCacheOnly,
	}
}
