// Package evidence reads quotes in the forms in which people hold them, and says what else
// those forms held. It verifies nothing: pass Evidence.Parsed to package attest.
//
// Which form it is follows from the data alone. Nothing is guessed: data that holds two quotes,
// or that can be read in two ways, is an error that wraps ErrAmbiguous; bytes after a quote that
// are not zeros or line ends wrap ErrTrailing. Members of JSON objects that are unknown or given
// twice are errors. Data that is something else is an error that says what it looks like, such
// as "an EPID quote" or "a JWT of Azure Attestation".
//
// These forms are read, and may be in each other:
//
//   - A quote as package quote reads it: of SGX or TDX, version 3, 4 or 5.
//   - Text: hexadecimal, with or without 0x; base64 and base64url (RFC 4648, sections 4 and 5),
//     with or without padding; a PEM block "SGX QUOTE" (RFC 7468); a JSON string. Text may start
//     with a byte order mark, have broken and indented lines, and stand behind the timestamps of
//     'kubectl logs' and of container runtimes. Other lines may surround PEM.
//   - Reports and evidence of Open Enclave, and the reports of EGo: oe_report_header_t of
//     openenclave/internal/report.h and oe_attestation_header_t of common/attest_plugin.h, with
//     the formats of openenclave/attestation/sgx/evidence.h and tdx/evidence.h.
//   - Requests to Azure Attestation (REST API 2025-06-01: AttestSgxEnclave, AttestOpenEnclave,
//     AttestTdxVm) and the files of Microsoft's samples for it.
//   - Requests to Intel Trust Authority (versions 1 and 2, as in trustauthority-client-for-go).
//   - Evidence of Azure's TDX machines, which have an HCL report and the quote of a vTPM beside
//     the quote of TDX, as Confidential Containers and attested TLS write it; the reply of Azure's
//     metadata service.
//   - Evidence of Confidential Containers for SGX and TDX; replies of dstack; reports of
//     configfs-tsm in JSON and CBOR.
//   - Certificates (RA-TLS) in DER and PEM, with the extensions of Intel, Gramine, Open Enclave,
//     EGo, dstack, of Interoperable RA-TLS (the tagged evidence of TCG DICE, CBOR tag 60000), and
//     of RFC 9999.
//   - Conceptual message wrappers (CMW, RFC 9999): records, tags and collections, in JSON and
//     CBOR.
//
// The size of the data, the number of forms in each other, and the elements of CBOR are bounded.
package evidence
