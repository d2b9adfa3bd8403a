// libsgx_pce_logic.so.1: the PCE, of which there is only the file.
#include "abi.h"

#include <cstdio>
#include <dlfcn.h>
#include <mutex>
#include <string>
#include <unistd.h>

using namespace dcaptest;

// libsgx_qe3_logic.so and libsgx_dcap_ql.so.1 define these as well.
EXPORT {
Logger *sgx_trace_logger_callback = nullptr;
int sgx_trace_loglevel = 0;
}

namespace {

std::mutex g_mutex;
std::string g_path;

std::string beside(const char *name) {
	Dl_info info;
	if (!dladdr(reinterpret_cast<void *>(&beside), &info)) return name;
	const std::string self = info.dli_fname;
	return self.substr(0, self.rfind('/') + 1) + name;
}

bool readable(const std::string &path) { return access(path.c_str(), R_OK) == 0; }

} // namespace

EXPORT Code sgx_set_pce_path(const char *path) {
	const std::string p = path;
	if (p.size() > 259) return kInvalidParameter;
	const std::lock_guard<std::mutex> lock(g_mutex);
	g_path = p;
	return kSuccess;
}

// Loads the PCE. The target is not filled in: nobody makes a report for it.
EXPORT uint32_t sgx_pce_get_target(TargetInfo *, uint16_t *) {
	const std::lock_guard<std::mutex> lock(g_mutex);
	if (!g_path.empty() ? readable(g_path) : readable(beside("libsgx_pce.signed.so.1")) || readable(beside("libsgx_pce.signed.so")))
		return 0;
	// The original logs the error of the SDK, here as without a device.
	const char line[] = "[simulated PCE library] Error, call sgx_create_enclave for PCE fail [load_pce], SGXError:2006.\n";
	if (sgx_trace_logger_callback) sgx_trace_logger_callback(kLogError, line);
	else fputs(line, stderr);
	return kPCEInterfaceUnavailable;
}
