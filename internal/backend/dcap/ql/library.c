#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "_cgo_export.h"

uint32_t call_set_policy(struct functions *f, uint32_t policy) { return f->set_policy(policy); }

uint32_t call_set_path(struct functions *f, uint32_t what, const char *path) { return f->set_path(what, path); }

static void log_quoting(uint32_t level, const char *text) { logFromC(level, (char *)text); }

void call_set_log(struct functions *f, uint32_t level) { f->set_log(log_quoting, level); }

uint32_t call_init_quote(struct functions *f, uint8_t *target_info, size_t *id_size, uint8_t *id) {
	return f->init_quote(NULL, target_info, false, id_size, id);
}

uint32_t call_quote_size(struct functions *f, uint32_t *size) { return f->quote_size(NULL, size); }

uint32_t call_quote(struct functions *f, const uint8_t *report, uint8_t *qe_report_info, uint8_t *quote, uint32_t size) {
	return f->quote(report, NULL, qe_report_info, quote, size);
}

enum {
	INVALID_PARAMETER = 0xe002,
	OUT_OF_MEMORY = 0xe003,

	RSA_OAEP_3072 = 1,         // PCE_ALG_RSA_OAEP_3072 of sgx_pce.h
	CONFIG_VERSION = 1,        // SGX_QL_CONFIG_VERSION_1
	CACHE_CERTIFICATE = 1,     // SGX_QPL_CACHE_CERTIFICATE
	CACHE_MULTICERTS = 1 << 2, // SGX_QPL_CACHE_MULTICERTS
};

// The functions that the quoting library calls in place of its provider's.

static uint32_t get_kept(const struct cert_id *id, struct config **out) {
	struct platform p = {0};
	if (!id || !out || !id->qe_id || !id->cpu_svn || !id->pce_svn || id->qe_id_size != sizeof p.qe_id)
		return INVALID_PARAMETER;
	memcpy(p.qe_id, id->qe_id, sizeof p.qe_id);
	memcpy(p.cpu_svn, id->cpu_svn, sizeof p.cpu_svn);
	p.pce_svn = *id->pce_svn;
	p.pce_id = id->pce_id;
	p.encrypted_ppid = id->encrypted_ppid;
	p.encrypted_ppid_size = id->encrypted_ppid ? id->encrypted_ppid_size : 0;

	struct answer answer = {0};
	uint32_t code = getKeptFromC(&p, &answer);
	if (code)
		return code;
	struct config *config = calloc(1, sizeof *config);
	if (!config) {
		free(answer.cert_data);
		return OUT_OF_MEMORY;
	}
	config->version = CONFIG_VERSION;
	memcpy(config->cpu_svn, answer.cpu_svn, sizeof config->cpu_svn);
	config->pce_svn = answer.pce_svn;
	config->cert_data_size = answer.cert_data_size;
	config->cert_data = answer.cert_data;
	*out = config;
	return 0;
}

static uint32_t free_kept(struct config *config) {
	if (config)
		free(config->cert_data);
	free(config);
	return 0;
}

static uint32_t write_data(const uint8_t *data, uint32_t size, const char *label) {
	if (label && !strcmp(label, "ecdsa_data.blob")) // ECDSA_BLOB_LABEL of qe_logic.cpp
		keepBlobFromC((uint8_t *)data, size);
	return 0;
}

void call_set_provider(struct functions *f) { f->set_provider(get_kept, free_kept, write_data); }

// The functions of the provider.

static void log_provider(uint32_t level, const char *text) { logProviderFromC(level, (char *)text); }

// Azure's provider has a warning between an error and an information.
static void log_azure(uint32_t level, const char *text) { logProviderFromC(level > 0 ? level - 1 : 0, (char *)text); }

void call_set_provider_log(struct provider_functions *f, uint32_t level) {
	if (f->set_log)
		f->set_log(log_provider, level);
	else if (f->set_azure_log)
		f->set_azure_log(log_azure);
}

uint32_t call_global_init(struct provider_functions *f) { return f->global_init ? f->global_init() : 0; }

uint32_t call_clear_cache(struct provider_functions *f) {
	return f->clear_cache ? f->clear_cache(CACHE_CERTIFICATE | CACHE_MULTICERTS) : 0;
}

uint32_t call_get_config(struct provider_functions *f, const struct platform *p, struct answer *answer) {
	struct platform copy = *p; // the pointers of cert_id are not const
	struct cert_id id = {
		.qe_id = copy.qe_id,
		.qe_id_size = sizeof copy.qe_id,
		.cpu_svn = copy.cpu_svn,
		.pce_svn = &copy.pce_svn,
		.encrypted_ppid = (uint8_t *)copy.encrypted_ppid,
		.encrypted_ppid_size = copy.encrypted_ppid_size,
		.crypto_suite = RSA_OAEP_3072,
		.pce_id = copy.pce_id,
	};
	struct config *config = NULL;
	uint32_t code = f->get_config(&id, &config);
	if (code || !config)
		return code;
	answer->version = config->version;
	memcpy(answer->cpu_svn, config->cpu_svn, sizeof answer->cpu_svn);
	answer->pce_svn = config->pce_svn;
	answer->cert_data_size = config->cert_data_size;
	if (config->cert_data && config->cert_data_size <= MAX_CERT_DATA) {
		answer->cert_data = malloc(config->cert_data_size + 1);
		if (!answer->cert_data)
			return OUT_OF_MEMORY;
		memcpy(answer->cert_data, config->cert_data, config->cert_data_size);
	}
	// The config is not freed: the process ends soon, and it may not be valid.
	return 0;
}
