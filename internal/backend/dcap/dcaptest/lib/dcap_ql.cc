// libsgx_dcap_ql.so.1: the interface for applications. In-process, it passes every
// call to libsgx_qe3_logic.so.
#include "abi.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <sys/stat.h>

using namespace dcaptest;

extern "C" {
Code sgx_ql_set_enclave_load_policy(uint32_t policy);
Code sgx_ql_init_quote(const AttKeyID *, TargetInfo *, bool refresh, size_t *key_id_size, uint8_t *key_id);
Code sgx_ql_get_quote_size(const AttKeyID *, uint32_t *);
Code sgx_ql_get_quote(const Report *, const AttKeyID *, QEReportInfo *, uint8_t *, uint32_t);
Code sgx_set_qe3_path(const char *);
Code sgx_set_pce_path(const char *);
Code sgx_set_qpl_path(const char *);
Code sgx_set_ide_path(const char *);
}

// libsgx_qe3_logic.so and libsgx_pce_logic.so.1 define these as well, and the dynamic
// linker makes all use the ones here.
EXPORT {
Logger *sgx_trace_logger_callback = nullptr;
int sgx_trace_loglevel = 0;
}

namespace {

bool g_out_of_process;

__attribute__((constructor)) void loaded() { g_out_of_process = getenv("SGX_AESM_ADDR") != nullptr; }

// Out of process, quotes come from the AESM client library. The stand-in returns what
// the original does if that library is missing.
Code from_aesm() {
	return dlopen("libsgx_quote_ex.so.1", RTLD_LAZY) ? kUnexpected : kServiceUnavailable;
}

} // namespace

EXPORT Code sgx_qe_set_enclave_load_policy(uint32_t policy) {
	return g_out_of_process ? kUnsupportedMode : sgx_ql_set_enclave_load_policy(policy);
}

EXPORT Code sgx_qe_get_target_info(TargetInfo *target) {
	if (!target) return kInvalidParameter;
	memset(target, 0, sizeof *target);
	if (g_out_of_process) return from_aesm();
	size_t size;
	const Code code = sgx_ql_init_quote(nullptr, nullptr, false, &size, nullptr);
	if (code != kSuccess) return code;
	uint8_t key_id[kKeyIDSize];
	if (size != sizeof key_id) return kUnexpected;
	return sgx_ql_init_quote(nullptr, target, false, &size, key_id);
}

EXPORT Code sgx_qe_get_quote_size(uint32_t *size) {
	if (!size) return kInvalidParameter;
	return g_out_of_process ? from_aesm() : sgx_ql_get_quote_size(nullptr, size);
}

EXPORT Code sgx_qe_get_quote(const Report *report, uint32_t size, uint8_t *quote) {
	if (!report || !quote) return kInvalidParameter;
	return g_out_of_process ? from_aesm() : sgx_ql_get_quote(report, nullptr, nullptr, quote, size);
}

EXPORT Code sgx_qe_cleanup_by_policy() { return g_out_of_process ? kUnsupportedMode : kSuccess; }

EXPORT Code sgx_ql_set_path(uint32_t what, const char *path) {
	if (g_out_of_process) return kUnsupportedMode;
	struct stat info;
	if (!path || stat(path, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISCHR(info.st_mode))) return kInvalidParameter;
	switch (what) { // sgx_ql_path_type_t
	case 0: return sgx_set_qe3_path(path);
	case 1: return sgx_set_pce_path(path);
	case 2: return sgx_set_qpl_path(path);
	case 3: return sgx_set_ide_path(path);
	}
	return kInvalidParameter;
}

EXPORT Code sgx_ql_set_trace_callback(Logger *logger, uint32_t level) {
	sgx_trace_logger_callback = logger;
	sgx_trace_loglevel = int(level) + 1; // 0 is silence
	return kSuccess;
}
