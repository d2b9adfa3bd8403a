// The host: it starts the enclave and prints its evidence, for the relying party.
#include <openenclave/host.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attested_u.h"

void send_evidence(const uint8_t* evidence, size_t size)
{
    // In base64, so that 'kubectl logs' is what 'confcom quote verify' reads.
    unsigned char* text = malloc(4 * ((size + 2) / 3) + 1);
    if (text == NULL)
        return;
    EVP_EncodeBlock(text, evidence, (int)size);
    puts((char*)text);
    free(text);
}

int main(int argc, const char* argv[])
{
    if (argc != 3)
    {
        fprintf(stderr, "usage: %s ENCLAVE NONCE\n", argv[0]);
        return 2;
    }

    oe_enclave_t* enclave = NULL;
    // No flags: no debugger can read the enclave.
    oe_result_t result = oe_create_attested_enclave(
        argv[1], OE_ENCLAVE_TYPE_SGX, 0, NULL, 0, &enclave);
    if (result != OE_OK)
    {
        fprintf(stderr, "create the enclave: %s\n", oe_result_str(result));
        return 1;
    }

    uint32_t made = OE_UNEXPECTED;
    result = attest(
        enclave, &made, (const uint8_t*)argv[2], strlen(argv[2]));
    oe_terminate_enclave(enclave);
    if (result == OE_OK)
        result = (oe_result_t)made;
    if (result != OE_OK)
    {
        fprintf(stderr, "get evidence: %s\n", oe_result_str(result));
        return 1;
    }
    return 0;
}
