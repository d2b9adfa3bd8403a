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

// A config for Go.
struct answer {
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
typedef void set_provider_function(get_config_function *, free_config_function *);

// The functions that were found in the libraries. set_provider_log and global_init
// are NULL if the provider does not have them.
struct functions {
	set_policy_function *set_policy;
	set_path_function *set_path;
	set_log_function *set_log;
	init_quote_function *init_quote;
	quote_size_function *quote_size;
	quote_function *quote;

	get_config_function *get_config;
	free_config_function *free_config;
	set_log_function *set_provider_log;
	global_init_function *global_init;

	set_provider_function *set_provider;
};

// Calls of the functions, which Go cannot call through a pointer.
uint32_t call_set_policy(struct functions *, uint32_t policy);
uint32_t call_set_path(struct functions *, uint32_t what, const char *path);
void call_set_logs(struct functions *, uint32_t level);
uint32_t call_init_quote(struct functions *, uint8_t *target_info, size_t *id_size, uint8_t *id);
uint32_t call_quote_size(struct functions *, uint32_t *size);
uint32_t call_quote(struct functions *, const uint8_t *report, uint8_t *qe_report_info, uint8_t *quote, uint32_t size);
uint32_t call_global_init(struct functions *);
uint32_t call_get_config(struct functions *, const struct platform *, struct answer *);
void call_set_provider(struct functions *);
