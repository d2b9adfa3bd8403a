// The provider shim: the library that Intel's quoting library loads as its provider.
// It passes each call on to the program that it is loaded into, which keeps the
// certificates and calls the real provider only when it has to.
//
// The quoting library loads its provider again for each use, by a path, so the shim
// must be a file of its own. The program keeps it loaded, and so its functions set.
#include <stdint.h>

// sgx_ql_pck_cert_id_t and sgx_ql_config_t, which are passed on unread.
struct id;
struct config;

typedef uint32_t get_function(const struct id *, struct config **);
typedef uint32_t free_function(struct config *);
typedef uint32_t write_function(const uint8_t *, uint32_t size, const char *label);

static get_function *get;
static free_function *release;
static write_function *write_data;

enum { PLATFORM_LIB_UNAVAILABLE = 0xe00e };

// Makes the program answer from now on.
void confcom_provider_set(get_function *get_config, free_function *free_config, write_function *write_persistent_data) {
	get = get_config;
	release = free_config;
	write_data = write_persistent_data;
}

uint32_t sgx_ql_get_quote_config(const struct id *id, struct config **config) {
	return get ? get(id, config) : PLATFORM_LIB_UNAVAILABLE;
}

uint32_t sgx_ql_free_quote_config(struct config *config) {
	return release ? release(config) : PLATFORM_LIB_UNAVAILABLE;
}

// The quoting library offers what it has sealed. It does without: there is no function for
// reading.
uint32_t sgx_ql_write_persistent_data(const uint8_t *data, uint32_t size, const char *label) {
	return write_data ? write_data(data, size, label) : PLATFORM_LIB_UNAVAILABLE;
}
