#include "processor.h"

#include <cstring>
#include <stdexcept>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/x509.h>

namespace dcaptest {
namespace {

// From rts_sim.h of the SDK: the CPUSVNs and the constant for the fused secret.
const uint8_t kCPUSVNs[][16] = {
	{0x48, 0x20, 0xf3, 0x37, 0x6a, 0xe6, 0xb2, 0xf2, 0x03, 0x4d, 0x3b, 0x7a, 0x4b, 0x48, 0xa7, 0x78},
	{0x53, 0x39, 0xae, 0x8c, 0x93, 0xae, 0x8f, 0x3c, 0xe4, 0x32, 0xdb, 0x92, 0x4d, 0x0f, 0x07, 0x33},
	{0x64, 0xea, 0x4f, 0x3f, 0xa0, 0x03, 0x0c, 0x36, 0x38, 0x3c, 0x32, 0x2d, 0x4f, 0x3a, 0x8d, 0x4f},
};
const uint8_t kBaseKey[16] = {0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0};

void cmac(const uint8_t key[16], const void *data, size_t size, uint8_t mac[16]) {
	size_t n;
	if (!EVP_Q_mac(nullptr, "CMAC", nullptr, "AES-128-CBC", nullptr, key, 16, static_cast<const uint8_t *>(data), size, mac, 16, &n))
		throw std::runtime_error("dcaptest: libcrypto has no AES-CMAC");
}

// The input of the SDK's report key derivation, in the layout of a C compiler.
struct Derivation {
	uint16_t key_name;
	uint8_t attributes[16] __attribute__((aligned(8)));
	uint32_t misc_select;
	uint8_t owner_epoch[16];
	uint8_t mr_enclave[32];
	uint8_t cpu_svn[16];
	uint16_t config_svn;
	uint8_t config_id[64];
	uint8_t key_id[32];
};
static_assert(sizeof(Derivation) == 192 && offsetof(Derivation, key_id) == 158, "Derivation");

void report_mac(const Report &report, const TargetInfo &target, uint8_t mac[16]) {
	Derivation d;
	memset(&d, 0, sizeof d);
	d.key_name = 3; // report
	memcpy(d.attributes, target.attributes, sizeof d.attributes);
	d.misc_select = target.misc_select;
	memcpy(d.owner_epoch, "THISISOWNEREPOCH", sizeof d.owner_epoch);
	memcpy(d.mr_enclave, target.mr_enclave, sizeof d.mr_enclave);
	memcpy(d.cpu_svn, report.body.cpu_svn, sizeof d.cpu_svn);
	d.config_svn = target.config_svn;
	memcpy(d.config_id, target.config_id, sizeof d.config_id);
	memcpy(d.key_id, report.key_id, sizeof d.key_id);
	uint8_t key[16];
	cmac(kBaseKey, &d, sizeof d, key);
	cmac(key, &report.body, sizeof report.body, mac);
}

} // namespace

bool genuine(const Report &report, const TargetInfo &target) {
	for (const auto &svn : kCPUSVNs) {
		if (memcmp(report.body.cpu_svn, svn, sizeof svn) != 0) continue;
		uint8_t mac[16];
		report_mac(report, target, mac);
		return CRYPTO_memcmp(mac, report.mac, sizeof mac) == 0;
	}
	return false;
}

Report make_report(const ReportBody &body, const TargetInfo &target) {
	Report report;
	memset(&report, 0, sizeof report);
	report.body = body;
	memcpy(report.key_id, kBaseKey, sizeof kBaseKey); // the SDK's choice
	report_mac(report, target, report.mac);
	return report;
}

Key read_key(const uint8_t *der, size_t size) { return Key(d2i_AutoPrivateKey(nullptr, &der, long(size))); }

bool sign(EVP_PKEY *key, const void *data, size_t size, uint8_t signature[64]) {
	const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
	uint8_t der[80];
	size_t der_size = sizeof der;
	if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
	    EVP_DigestSign(context.get(), der, &der_size, static_cast<const uint8_t *>(data), size) != 1)
		return false;
	const uint8_t *p = der;
	const std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG *)> s(d2i_ECDSA_SIG(nullptr, &p, long(der_size)), ECDSA_SIG_free);
	return s && BN_bn2binpad(ECDSA_SIG_get0_r(s.get()), signature, 32) == 32 &&
	       BN_bn2binpad(ECDSA_SIG_get0_s(s.get()), signature + 32, 32) == 32;
}

void hash(const void *a, size_t a_size, const void *b, size_t b_size, uint8_t sum[32]) {
	const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
	if (EVP_DigestInit(context.get(), EVP_sha256()) != 1 || EVP_DigestUpdate(context.get(), a, a_size) != 1 ||
	    EVP_DigestUpdate(context.get(), b, b_size) != 1 || EVP_DigestFinal(context.get(), sum, nullptr) != 1)
		throw std::runtime_error("dcaptest: libcrypto has no SHA-256");
}

} // namespace dcaptest
