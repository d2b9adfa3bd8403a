// Package qcnl reads the configuration of Intel's default quote provider,
// /etc/sgx_default_qcnl.conf, as the provider does, and says what is wrong with it.
//
// The provider itself says nothing. It ignores keys that it does not know and
// values of another type, and falls back to its defaults where the file is no
// valid JSON: a PCCS on this very machine. So a missing comma shows as a network
// error, much later. (Source: QuoteGeneration/qcnl of Intel's DCAP 1.25, for Linux.)
package qcnl

import (
	"cmp"
	"os"
	"slices"
)

// Path is where the provider looks, in this environment.
func Path() string { return cmp.Or(os.Getenv("QCNL_CONF_PATH"), "/etc/sgx_default_qcnl.conf") }

// Config is what the provider works with: what the file says, and the provider's
// defaults for the rest.
type Config struct {
	PCCSURL           string // "pccs_url": who has the certificates of the platform
	UseSecureCert     bool   // "use_secure_cert": check TLS certificates
	CollateralService string // "collateral_service": who has what verifying takes; the PCCS unless said otherwise
	TCBUpdateType     string // "tcb_update_type": early or standard
	PCCSAPIVersion    string // "pccs_api_version": 3.0 has CRLs in hexadecimal, 3.1 in DER
	RetryTimes        int    // "retry_times": after the first attempt
	RetryDelay        int    // "retry_delay": seconds; with 0 it doubles, from one second on
	LocalPCKURL       string // "local_pck_url": asked before the PCCS, if there is one

	PCKCacheHours    float64 // "pck_cache_expire_hours": 2160 at most, which is 90 days
	VerifyCacheHours float64 // "verify_collateral_cache_expire_hours": likewise
	LocalCacheOnly   bool    // "local_cache_only": ask nobody for the platform's certificates

	// Headers and Params are those of "get_cert" in "custom_request_options": each
	// request for the platform's certificates has them.
	Headers, Params map[string]string
}

const (
	path        = "/sgx/certification/v4/"
	defaultPCCS = "https://localhost:8081" + path
)

// Default is what the provider works with where the file says nothing.
func Default() Config {
	return Config{
		PCCSURL: defaultPCCS, CollateralService: defaultPCCS, UseSecureCert: true,
		TCBUpdateType: "standard", PCCSAPIVersion: "3.0",
	}
}

// URLs are the services that the provider asks for the certificates of a platform,
// in this order. For a quote it needs no other; to verify one it asks the
// CollateralService.
func (c Config) URLs() []string {
	if c.LocalCacheOnly {
		return nil
	}
	return slices.DeleteFunc([]string{c.LocalPCKURL, c.PCCSURL}, func(u string) bool { return u == "" })
}

// settings are the values of a configuration by their keys in the file, but for
// "custom_request_options".
func (c *Config) settings() map[string]any {
	return map[string]any{
		"pccs_url": &c.PCCSURL, "use_secure_cert": &c.UseSecureCert, "collateral_service": &c.CollateralService,
		"tcb_update_type": &c.TCBUpdateType, "pccs_api_version": &c.PCCSAPIVersion, "retry_times": &c.RetryTimes,
		"retry_delay": &c.RetryDelay, "local_pck_url": &c.LocalPCKURL, "pck_cache_expire_hours": &c.PCKCacheHours,
		"verify_collateral_cache_expire_hours": &c.VerifyCacheHours, "local_cache_only": &c.LocalCacheOnly,
	}
}
