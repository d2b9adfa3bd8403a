// The enclave: it makes evidence of itself.
#include <openenclave/attestation/attester.h>
#include <openenclave/attestation/sgx/evidence.h>
#include <openenclave/enclave.h>

#include "attested_t.h"

uint32_t attest(const uint8_t* nonce, size_t size)
{
    // A quote of DCAP. With SGX_AESM_ADDR, Open Enclave gets it from the quote helper.
    static const oe_uuid_t format = {OE_FORMAT_UUID_SGX_ECDSA};
    uint8_t* evidence = NULL;
    size_t evidence_size = 0;

    oe_result_t result = oe_attester_initialize();
    if (result != OE_OK)
        return result;

    // The report data of the quote is the SHA-256 of the custom claims: here, the nonce. An
    // enclave that has a public key adds it.
    result = oe_get_evidence(
        &format,
        OE_EVIDENCE_FLAGS_EMBED_FORMAT_ID,
        nonce,
        size,
        NULL,
        0,
        &evidence,
        &evidence_size,
        NULL,
        NULL);
    if (result == OE_OK)
    {
        result = send_evidence(evidence, evidence_size);
        oe_free_evidence(evidence);
    }
    oe_attester_shutdown();
    return result;
}
