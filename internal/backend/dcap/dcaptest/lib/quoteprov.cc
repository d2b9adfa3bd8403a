// libdcap_quoteprov.so.1: the provider. It knows one platform, that of the file
// libdcap_quoteprov.platform in its directory: a line with the CPUSVN in hexadecimal
// and the PCE SVN in decimal, and the PCK certificate chain in PEM.
#include "abi.h"
#include "faults.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>

using namespace dcaptest;

namespace {

Logger *g_logger;
int g_level;

void log(int level, const std::string &message) {
	if (g_logger && level <= g_level) g_logger(level, message.c_str());
}

std::string hex(Code code) {
	char text[16];
	snprintf(text, sizeof text, "0x%04x", code);
	return text;
}

std::string platform_file() {
	Dl_info info;
	if (!dladdr(reinterpret_cast<void *>(&platform_file), &info)) return "";
	const std::string self = info.dli_fname;
	return self.substr(0, self.rfind('/') + 1) + "libdcap_quoteprov.platform";
}

bool all_zero(const uint8_t *data, size_t size) {
	for (size_t i = 0; i < size; i++)
		if (data[i]) return false;
	return true;
}

} // namespace

EXPORT Code sgx_ql_set_logging_callback(Logger *logger, uint32_t level) {
	g_logger = logger;
	g_level = int(level);
	return kSuccess;
}

EXPORT Code sgx_qpl_global_init() { return kSuccess; }

EXPORT Code sgx_ql_get_quote_config(const PCKCertID *id, QuoteConfig **config) {
	if (!id || !config || !id->qe_id || id->qe_id_size != 16 || !id->cpu_svn || !id->pce_svn) return kInvalidParameter;
	count("config");
	if (id->encrypted_ppid && !all_zero(id->encrypted_ppid, id->encrypted_ppid_size)) count("config-ppid");
	// No thread may wait for the end of the call: the library may be unloaded then.
	const Injected injected = inject("config", false, nullptr);
	if (injected.action == Action::kReturnCode) {
		log(kLogError, "simulated provider: injected error " + hex(injected.code));
		return injected.code;
	}

	const std::string path = platform_file();
	std::ifstream file(path);
	std::string svn;
	unsigned pce_svn;
	if (!(file >> svn >> pce_svn) || svn.size() != 32 || file.get() != '\n') {
		log(kLogError, "simulated provider: no platform in " + path);
		return kNoPlatformCertData;
	}
	const std::string chain{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};

	auto *c = static_cast<QuoteConfig *>(calloc(1, sizeof(QuoteConfig)));
	c->version = 1;
	for (int i = 0; i < 16; i++) c->cert_cpu_svn[i] = uint8_t(std::stoul(svn.substr(2 * i, 2), nullptr, 16));
	c->cert_pce_svn = uint16_t(pce_svn);
	c->cert_data_size = uint32_t(chain.size() + 1); // with its NUL, as Intel's does
	c->cert_data = reinterpret_cast<uint8_t *>(strdup(chain.c_str()));
	*config = c;
	log(kLogInfo, "simulated provider: PCK certificate chain of " + std::to_string(chain.size()) + " bytes");
	return kSuccess;
}

EXPORT Code sgx_ql_free_quote_config(QuoteConfig *config) {
	if (!config) return kInvalidParameter;
	free(config->cert_data);
	free(config);
	return kSuccess;
}
