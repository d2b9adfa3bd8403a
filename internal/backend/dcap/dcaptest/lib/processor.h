// The simulated processor and the keys of its QE. sgx/simulation documents where the
// constants come from. Nothing here is secret.
#pragma once

#include <memory>

#include <openssl/evp.h>

#include "abi.h"

namespace dcaptest {

// Reports whether report was made on a simulated processor, for the enclave that
// target describes.
bool genuine(const Report &report, const TargetInfo &target);

// Returns the report of the enclave that body describes, for target, on the processor
// that body names.
Report make_report(const ReportBody &body, const TargetInfo &target);

struct FreeKey {
	void operator()(EVP_PKEY *key) const { EVP_PKEY_free(key); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;

// Reads the key in a PKCS #8 structure; nullptr if it is malformed.
Key read_key(const uint8_t *der, size_t size);

// Signs the SHA-256 of data. The signature is r and s, big-endian.
bool sign(EVP_PKEY *key, const void *data, size_t size, uint8_t signature[64]);

// Computes the SHA-256 of a and b.
void hash(const void *a, size_t a_size, const void *b, size_t b_size, uint8_t sum[32]);

} // namespace dcaptest
