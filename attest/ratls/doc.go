// Package ratls is RA-TLS (remote attestation in TLS): peers that show a quote in their
// certificate instead of a certificate authority's signature.
//
// A Verifier accepts a peer whose certificate has evidence. Use its ClientConfig to connect to an
// enclave or trust domain, its ServerConfig to accept only those, and both for mutual attestation.
// An Attester keeps the certificate of an enclave or trust domain.
//
// # What is verified
//
// A peer is accepted if
//
//   - its certificate is signed with its own key, and valid now
//   - the evidence in the certificate binds that key, exactly as its format defines it
//   - the quote is trusted, and meets the policy (package attest)
//
// TLS itself proves that the peer has the key. No certificate authority and no name is involved:
// anybody who can run an enclave that the policy accepts is accepted, under any address.
//
// All of it is verified in each handshake, also if a session is resumed: evidence that was trusted
// when the session began may be trusted no more.
//
// # Formats
//
// The format of the evidence decides how it binds the key. A hash in the report data is followed
// by zeros. "Key" is the SubjectPublicKeyInfo of the certificate in DER.
//
//   - FormatTagged: the report data is the SHA-256 of claims, which are a CBOR map; its member
//     "pubkey-hash" has a hash of the key (SHA-256, SHA-384 or SHA-512). Source: "Interoperable
//     RA-TLS SGX / TDX Evidence Tags and Formats", section "Evidence Data Formats", and
//     "Interoperable RA-TLS X.509 Cert and Evidence Formats", section "Evidence Custom Claims"
//     (CCC-Attestation/interoperable-ra-tls, ce44a86). For trust domains Intel's SDK has the
//     SHA-384 of the claims instead (tee_get_certificate_with_evidence in sdk/ttls/ttls.cpp of
//     intel/confidential-computing.sgx, 07cd9c3). The extension may also hold the tagged evidence
//     in a conceptual message wrapper (RFC 9999), which defines no binding of its own.
//   - FormatGramine, before Gramine 1.8: the SHA-256 of the key. Source:
//     cmp_crt_pk_against_quote_report_data in tools/sgx/ra-tls/ra_tls_verify_common.c
//     (gramineproject/gramine, ff71d7a).
//   - FormatIntel, before version 2.22 of Intel's SDK: the SHA-256 of the key in PEM with a final
//     NUL, and the SHA-384 for trust domains. Source: sgx_tls_compare_quote_hash and
//     sgx_public_key_write_pem in sdk/ttls/cert_verifier.cpp (as above).
//   - FormatOpenEnclave, for reports: the SHA-256 of the key in PEM with a final NUL, or, in EGo,
//     of the key in DER. For evidence with claims, the claims are the key in PEM with a final
//     NUL, and the report data is their SHA-256. Source: _verify_public_key_claim in
//     common/attest_plugin.c (openenclave/openenclave, 9497d36), and HashPublicKey and
//     HashPublicKeyOE in internal/attestation/attestation.go (edgelesssys/ego, abfddf9).
//   - FormatDstack: the SHA-512 of "ratls-cert:" and the key. Source: to_report_data in
//     dstack/dstack-attest/src/attestation.rs (Dstack-TEE/dstack, 312dc60).
//
// An Attester writes FormatTagged, which Gramine (since 1.8), Intel's SDK (since 2.22) and rats-tls
// read.
package ratls
