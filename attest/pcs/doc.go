// Package pcs fetches the collateral that package attest verifies quotes with: from Intel's
// Provisioning Certification Service (PCS, version 4 of its API), from a cache of it in the data
// center (PCCS, Provisioning Certificate Caching Service), from Azure's cache (THIM, Trusted
// Hardware Identity Management), or from a file.
//
// A Client fetches the collateral of one Family of platforms. Before it returns or caches
// anything, it verifies it: everything is signed under a root that it trusts, valid, and for the
// family. It caches responses in memory or in a directory. Collateral in the cache that is valid is
// returned at once; when it is older than the service allows, it is refreshed in the background.
// Requests that fail are retried with exponential backoff, and failures are remembered, so that a
// service that is down is asked now and then and not for each quote. Responses that were issued
// before those in the cache do not replace them.
//
// A Bundle is collateral in a file, for verifiers without a network. Its JSON form is that of
// attest.Collateral with two more members.
//
// Errors of responses are a *StatusError; those of the verification are the ones of
// attest.Verifier.Check, such as *attest.CheckError.
//
// Source: Intel's "API Documentation" of the PCS (api.portal.trustedservices.intel.com), RFC 9111
// for the lifetime of responses.
package pcs
