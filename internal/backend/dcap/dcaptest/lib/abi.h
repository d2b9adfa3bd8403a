// The C interface of the quoting libraries, as laid out in Intel's headers
// (sgx_ql_lib_common.h, sgx_ql_quote.h, sgx_quote_3.h), with our own names.
// Everything is little-endian and packed.
#pragma once

#include <cstddef>
#include <cstdint>

// A function for callers of the library: exports.map leaves its name visible.
#define EXPORT extern "C"

namespace dcaptest {

// The values of quote3_error_t that the stand-in returns without a fault.
using Code = uint32_t;
constexpr Code kSuccess = 0;
constexpr Code kUnexpected = 0xe001;
constexpr Code kInvalidParameter = 0xe002;
constexpr Code kOutOfMemory = 0xe003;
constexpr Code kUnsupportedLoadingPolicy = 0xe00c;
constexpr Code kInterfaceUnavailable = 0xe00d; // no PCE
constexpr Code kPlatformLibUnavailable = 0xe00e;
constexpr Code kAttKeyNotInitialized = 0xe00f;
constexpr Code kCertDataInvalid = 0xe010;
constexpr Code kNoPlatformCertData = 0xe011;
constexpr Code kEnclaveLost = 0xe014;
constexpr Code kInvalidReport = 0xe015;
constexpr Code kEnclaveLoadError = 0xe016;
constexpr Code kKeyCertificationError = 0xe018;
constexpr Code kNetworkError = 0xe019;
constexpr Code kUnsupportedMode = 0xe03e;
constexpr Code kServiceUnavailable = 0xe040;
constexpr Code kUnknownMessageResponse = 0xe044;
constexpr Code kPlatformUnknown = 0xe047;
constexpr Code kCertsUnavailable = 0xe049;
constexpr Code kRootCAUntrusted = 0xe065;

// sgx_pce_error_t
constexpr uint32_t kPCEInterfaceUnavailable = 0xf004;

// sgx_ql_request_policy_t
constexpr uint32_t kPersistent = 0;
constexpr uint32_t kEphemeral = 1;

constexpr size_t kKeyIDSize = 32;           // the attestation key's ID, a SHA-256
constexpr size_t kEncryptedPPIDSize = 384;  // with a 3072-bit RSA key
constexpr uint8_t kCryptoSuiteRSA3072 = 1;

#pragma pack(push, 1)

struct TargetInfo { // sgx_target_info_t
	uint8_t mr_enclave[32];
	uint8_t attributes[16];
	uint8_t reserved1[2];
	uint16_t config_svn;
	uint32_t misc_select;
	uint8_t reserved2[8];
	uint8_t config_id[64];
	uint8_t reserved3[384];
};
static_assert(sizeof(TargetInfo) == 512, "TargetInfo");

struct ReportBody { // sgx_report_body_t
	uint8_t cpu_svn[16];
	uint8_t misc_and_more[32];
	uint8_t attributes[16];
	uint8_t mr_enclave[32];
	uint8_t reserved1[32];
	uint8_t mr_signer[32];
	uint8_t reserved2[160];
	uint8_t report_data[64];
};
static_assert(sizeof(ReportBody) == 384, "ReportBody");

struct Report { // sgx_report_t
	ReportBody body;
	uint8_t key_id[32];
	uint8_t mac[16];
};
static_assert(sizeof(Report) == 432, "Report");

struct QEReportInfo { // sgx_ql_qe_report_info_t
	uint8_t nonce[16];
	TargetInfo target;
	Report qe_report; // out
};
static_assert(sizeof(QEReportInfo) == 960, "QEReportInfo");

struct AttKeyID { // sgx_ql_att_key_id_t
	uint16_t id;
	uint16_t version;
	uint16_t mr_signer_length;
	uint8_t mr_signer[48];
	uint32_t prod_id;
	uint8_t extended_prod_id[16];
	uint8_t config_id[64];
	uint8_t family_id[16];
	uint32_t algorithm;
};
static_assert(sizeof(AttKeyID) == 158, "AttKeyID");

struct AttKeyIDExt { // sgx_att_key_id_ext_t
	AttKeyID base;
	uint8_t rest[98];
};
static_assert(sizeof(AttKeyIDExt) == 256, "AttKeyIDExt");

struct QuoteHeader { // sgx_quote_header_t
	uint16_t version;
	uint16_t key_type;
	uint32_t reserved;
	uint16_t qe_svn;
	uint16_t pce_svn;
	uint8_t vendor_id[16];
	uint8_t qe_id[16]; // the user data is the QE's ID and the tail
	uint8_t user_data_tail[4];
};

// A quote up to its certification data: sgx_quote3_t with the signature data of
// an ECDSA quote and the authentication data of Intel's QE.
struct QuoteHead {
	QuoteHeader header;
	ReportBody body;
	uint32_t signature_data_size; // of everything after it
	uint8_t signature[64];        // of header and body
	uint8_t key[64];
	ReportBody qe_report;
	uint8_t qe_report_signature[64];
	uint16_t auth_data_size;
	uint8_t auth_data[32];
	uint16_t cert_type;
	uint32_t cert_size;
};
static_assert(offsetof(QuoteHead, signature_data_size) == 432, "QuoteHead");
static_assert(sizeof(QuoteHead) == 1052, "QuoteHead");

// Certification data if there is no provider.
constexpr uint16_t kCertEncryptedPPID = 3;
struct EncryptedPPIDCert { // sgx_ql_ppid_rsa3072_encrypted_cert_info_t
	uint8_t encrypted_ppid[kEncryptedPPIDSize];
	uint8_t cpu_svn[16];
	uint16_t pce_svn;
	uint16_t pce_id;
};
static_assert(sizeof(EncryptedPPIDCert) == 404, "EncryptedPPIDCert");

constexpr uint16_t kCertPCKChain = 5;

struct PCKCertID { // sgx_ql_pck_cert_id_t
	const uint8_t *qe_id;
	uint32_t qe_id_size;
	const uint8_t *cpu_svn;
	const uint16_t *pce_svn;
	const uint8_t *encrypted_ppid;
	uint32_t encrypted_ppid_size;
	uint8_t crypto_suite;
	uint16_t pce_id;
};
static_assert(sizeof(PCKCertID) == 43, "PCKCertID");

struct QuoteConfig { // sgx_ql_config_t
	uint32_t version;
	uint8_t cert_cpu_svn[16];
	uint16_t cert_pce_svn;
	uint32_t cert_data_size;
	uint8_t *cert_data;
};
static_assert(sizeof(QuoteConfig) == 34, "QuoteConfig");

// What the quoting library stores when its key is certified: sgx_sealed_data_t with a
// ref_plaintext_ecdsa_data_sdk_t. What confcom does not read is left out.
struct KeyBlob {
	uint8_t key_request[512];
	uint32_t text_offset;
	uint8_t reserved1[12];
	uint32_t payload_size;
	uint8_t reserved2[28];
	uint8_t secret[100];
	uint8_t type;
	uint8_t version;
	uint8_t rest1[559];
	Report qe_report;
	uint8_t qe_report_signature[64];
	uint8_t key[64];
	uint8_t key_id[32];
	uint8_t rest2[18];
	uint32_t auth_data_size;
	uint8_t auth_data[32];
	uint8_t qe_id[16];
};
static_assert(offsetof(KeyBlob, secret) == 560, "KeyBlob");
static_assert(sizeof(KeyBlob) - offsetof(KeyBlob, type) == 1223, "KeyBlob");

#pragma pack(pop)

using GetQuoteConfig = Code(const PCKCertID *, QuoteConfig **);
using FreeQuoteConfig = Code(QuoteConfig *);
using GlobalInit = Code();
using WritePersistentData = Code(const uint8_t *data, uint32_t size, const char *label);
using PCETarget = uint32_t(TargetInfo *, uint16_t *);

// sgx_ql_logging_callback_t; the level 0 is an error.
using Logger = void(int level, const char *message);
constexpr int kLogError = 0;
constexpr int kLogInfo = 1;

} // namespace dcaptest
