// Package ear signs attestation results for others and verifies them: an EAR (EAT
// attestation result, draft-ietf-rats-ear-04) as a JWT, which programs in any language
// understand. EAT is the Entity Attestation Token of RFC 9711.
//
// A verifier has a Signer. It publishes Signer.JWKS, and sends what Signer.Sign returns as
// MediaType. A relying party gets the keys from the verifier that it trusts, over TLS, with
// ParseKeys, and calls Keys.Verify. Its error is nil if and only if the verifier has signed
// that the attester is trusted; check then that the appraisal is by the policy that you expect
// (Appraisal.PolicyIDs) and is about the peer that you talk to (Appraisal.Binds).
//
// # What the claims mean
//
// There is one submodule, "sgx" or "tdx": the TEE (trusted execution environment) of the
// quote. It has the trustworthiness vector of AR4SI (draft-ietf-rats-ar4si-10), in which 0
// means that nothing was appraised:
//
//	hardware           2   UpToDate, without advisories
//	                  32   the policy accepts another TCB status
//	                  96   a certificate is revoked or expired, or the policy does not accept
//	                       the TCB status, an advisory, TEE_TCB_SVN or MRSEAM
//	                  97   another root, quoting enclave or TDX module
//	configuration      3   no debugger; the TCB status asks for no other configuration
//	                  32   the policy accepts a debugger, a status that asks for another
//	                       configuration, a trust domain without SEPT_VE_DISABLE, or one that
//	                       is migratable
//	                  96   the policy does not accept one of these, or another attribute
//	executables        3   the policy names the enclave or its signer; or MRTD, RTMR1 and RTMR2
//	                  96   it is none of those that the policy names
//	runtime-opaque     2   encrypted, and no debugger
//	                  32   the policy accepts a debugger
//	                  96   it does not
//	instance-identity  2   the policy names the platform
//	                  97   it is none of those that the policy names
//
// File-system, storage-opaque and sourced-data are always 0. If a signature of the evidence is
// not valid, hardware, configuration, executables and runtime-opaque are 99. Nothing is
// affirmed about an attester whose hardware is not.
//
// The status is that of the worst claim if the quote is trusted: affirming or warning. It is
// none if the verifier lacks collateral or cannot use it: the attester may well be sound.
// Otherwise it is contraindicated, also for a reason that the vector has no claim for, such as
// other report data.
//
// The claims of the evidence (ear_attester_claims) are the report body, and are there only if
// the quote is trusted. The claims of the verifier (ear_verifier_claims) are its result in
// full, with each check. An EAR has neither the evidence nor an identifier of the platform, unless
// the policy names platforms: attesters show EARs to others.
package ear
