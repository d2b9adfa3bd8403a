// The library that Intel's quoting library loads as its provider. It passes what
// it is asked on to the program that it is in, which keeps the certificates and
// asks the real provider only when it has to.
//
// The quoting library loads its provider anew for each use, by a path, so this has
// to be a file of its own. The program keeps it loaded, and so its functions set.
#include <stdint.h>

// sgx_ql_pck_cert_id_t and sgx_ql_config_t, of which nothing is looked at here.
struct id;
struct config;

typedef uint32_t get_function(const struct id *, struct config **);
typedef uint32_t free_function(struct config *);

static get_function *get;
static free_function *release;

enum { PLATFORM_LIB_UNAVAILABLE = 0xe00e };

// Has the program answer from now on.
void confcom_provider_set(get_function *get_config, free_function *free_config) {
	get = get_config;
	release = free_config;
}

uint32_t sgx_ql_get_quote_config(const struct id *id, struct config **config) {
	return get ? get(id, config) : PLATFORM_LIB_UNAVAILABLE;
}

uint32_t sgx_ql_free_quote_config(struct config *config) {
	return release ? release(config) : PLATFORM_LIB_UNAVAILABLE;
}
