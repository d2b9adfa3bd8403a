#pragma once

// The functions of Intel's libraries that are used here, and their types, as in
// sgx_ql_lib_common.h and sgx_ql_core_wrapper.h.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Packed, as Intel's are. Go cannot access packed structs.
#pragma pack(push, 1)

// sgx_ql_pck_cert_id_t
struct cert_id {
	uint8_t *qe_id;
	uint32_t qe_id_size;
	uint8_t *cpu_svn; // 16 bytes
	uint16_t *pce_svn;
	uint8_t *encrypted_ppid;
	uint32_t encrypted_ppid_size;
	uint8_t crypto_suite;
	uint16_t pce_id;
};

// sgx_ql_config_t
struct config {
	uint32_t version;
	uint8_t cpu_svn[16];
	uint16_t pce_svn;
	uint32_t cert_data_size;
	uint8_t *cert_data;
};

#pragma pack(pop)

_Static_assert(sizeof(struct cert_id) == 43, "the size of Intel's struct");
_Static_assert(sizeof(struct config) == 34, "the size of Intel's struct");

// A cert_id for Go. The encrypted PPID is NULL if it is not known.
struct platform {
	uint8_t qe_id[16];
	uint8_t cpu_svn[16];
	uint16_t pce_svn;
	uint16_t pce_id;
	const uint8_t *encrypted_ppid;
	uint32_t encrypted_ppid_size;
};

// The most certification data that is copied from a config, in bytes: more than the
// quoting enclave accepts.
enum { MAX_CERT_DATA = 1 << 16 };

// A config for Go, whose cert_data is NULL if there is none.
struct answer {
	uint32_t version;
	uint8_t cpu_svn[16];
	uint16_t pce_svn;
	uint8_t *cert_data; // from malloc
	uint32_t cert_data_size;
};

typedef uint32_t set_policy_function(uint32_t);
typedef uint32_t set_path_function(uint32_t, const char *);
typedef void log_function(uint32_t level, const char *text);
typedef uint32_t set_log_function(log_function *, uint32_t level);
typedef uint32_t init_quote_function(const void *key_id, uint8_t *target_info, bool refresh, size_t *id_size, uint8_t *id);
typedef uint32_t quote_size_function(const void *key_id, uint32_t *size);
typedef uint32_t quote_function(const uint8_t *report, const void *key_id, uint8_t *qe_report_info, uint8_t *quote, uint32_t size);
typedef uint32_t global_init_function(void);
typedef uint32_t get_config_function(const struct cert_id *, struct config **);
typedef uint32_t free_config_function(struct config *);
typedef uint32_t clear_cache_function(uint32_t type);
typedef void azure_log_function(log_function *);
typedef uint32_t write_data_function(const uint8_t *data, uint32_t size, const char *label);
typedef void set_provider_function(get_config_function *, free_config_function *, write_data_function *);

// The functions of the quoting library and of the shim.
struct functions {
	set_policy_function *set_policy;
	set_path_function *set_path;
	set_log_function *set_log;
	init_quote_function *init_quote;
	quote_size_function *quote_size;
	quote_function *quote;
	set_provider_function *set_provider;
};

// The functions of the provider. All but get_config are NULL if it does not have them.
struct provider_functions {
	get_config_function *get_config;
	set_log_function *set_log;
	azure_log_function *set_azure_log;
	global_init_function *global_init;
	clear_cache_function *clear_cache;
};

// Calls of the functions, which Go cannot call through a pointer.
uint32_t call_set_policy(struct functions *, uint32_t policy);
uint32_t call_set_path(struct functions *, uint32_t what, const char *path);
void call_set_log(struct functions *, uint32_t level);
uint32_t call_init_quote(struct functions *, uint8_t *target_info, size_t *id_size, uint8_t *id);
uint32_t call_quote_size(struct functions *, uint32_t *size);
uint32_t call_quote(struct functions *, const uint8_t *report, uint8_t *qe_report_info, uint8_t *quote, uint32_t size);
void call_set_provider(struct functions *);

void call_set_provider_log(struct provider_functions *, uint32_t level);
uint32_t call_global_init(struct provider_functions *);
uint32_t call_clear_cache(struct provider_functions *);
uint32_t call_get_config(struct provider_functions *, const struct platform *, struct answer *);
