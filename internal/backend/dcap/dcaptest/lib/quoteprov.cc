// libdcap_quoteprov.so.1: the provider. It knows one platform, that of the file
// libdcap_quoteprov.platform in its directory: a line with the CPUSVN in hexadecimal
// and the PCE SVN in decimal, and the PCK certificate chain in PEM.
//
// With AZURE it is libdcap_quoteprov.so, which has the functions of Azure's provider.
#include "abi.h"
#include "faults.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace dcaptest;

namespace {

Logger *g_logger;

#ifdef AZURE
// Azure's levels have a warning between error and information. It logs all.
void log(int level, const std::string &message) {
	if (g_logger) g_logger(level == kLogError ? 0 : 2, message.c_str());
}
#else
int g_level;

void log(int level, const std::string &message) {
	if (g_logger && level <= g_level) g_logger(level, message.c_str());
}
#endif

std::string hex(Code code) {
	char text[16];
	snprintf(text, sizeof text, "0x%04x", code);
	return text;
}

std::string beside(const char *name) {
	Dl_info info;
	if (!dladdr(reinterpret_cast<void *>(&beside), &info)) return "";
	const std::string self = info.dli_fname;
	return self.substr(0, self.rfind('/') + 1) + name;
}

bool all_zero(const uint8_t *data, size_t size) {
	for (size_t i = 0; i < size; i++)
		if (data[i]) return false;
	return true;
}

// What the service has answered.
struct Answer {
	std::string svn; // the CPUSVN in hexadecimal
	unsigned pce_svn = 0;
	std::string chain;
};

bool read(const std::string &path, Answer *answer) {
	std::ifstream file(path);
	if (!(file >> answer->svn >> answer->pce_svn) || answer->svn.size() != 32 || file.get() != '\n') return false;
	answer->chain = {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
	return true;
}

// The file in which answers are kept: that of one platform. As Intel's provider does by
// default, it keeps none, unless the environment says so.
std::string cache_file() {
	const char *dir = getenv("AZDCAP_CACHE");
	if (!getenv("DCAPTEST_CACHE") || !dir) return "";
	const std::string path = std::string(dir) + "/.dcap-qcnl";
	mkdir(path.c_str(), 0700);
	return path + "/simulated";
}

// The codes of Intel's provider, from pccs_status_to_qcnl_error and curl_error_to_qcnl_error
// of its source.
Code code_of(int status) {
	switch (status) {
	case 60: return kRootCAUntrusted;
	case 404: return kNoPlatformCertData;
	case 461: return kPlatformUnknown;
	case 462: return kCertsUnavailable;
	case 403: return kNetworkError;
	case 503: return kServiceUnavailable;
	}
	return status < 100 ? kNetworkError : kUnknownMessageResponse;
}

// Makes what is wrong with an answer wrong.
void spoil(const std::string &what, Answer *answer) {
	if (what == "after-503") answer->chain.insert(0, "{\"error\":\"busy, come back later\"}");
	else if (what == "zero-tcb") answer->svn.assign(32, '0'), answer->pce_svn = 0;
	else if (what == "other-tcb") answer->pce_svn--;
	else if (what == "no-certificate") answer->chain.insert(0, "this is no certificate\n").erase(23, answer->chain.find("-----BEGIN", 30) - 23);
	else if (what == "tiny") answer->chain = "xy";
	else if (what == "big") answer->chain.insert(0, 70000, 'A');
	else if (what == "other-platform") {
		Answer other;
		if (read(beside("libdcap_quoteprov.other"), &other)) *answer = other;
	} else if (what == "random") {
		answer->chain.assign(3000, 0);
		if (getrandom(&answer->chain[0], answer->chain.size(), 0) < 0) abort();
		for (auto &c : answer->chain) c = c ? c : 1; // it is a string
	}
}

QuoteConfig *make_config(const Answer &answer) {
	auto *c = static_cast<QuoteConfig *>(calloc(1, sizeof(QuoteConfig)));
	c->version = 1;
	for (int i = 0; i < 16; i++) c->cert_cpu_svn[i] = uint8_t(std::stoul(answer.svn.substr(2 * i, 2), nullptr, 16));
	c->cert_pce_svn = uint16_t(answer.pce_svn);
	c->cert_data_size = uint32_t(answer.chain.size() + 1); // with its NUL, as Intel's does
	c->cert_data = reinterpret_cast<uint8_t *>(strdup(answer.chain.c_str()));
	return c;
}

// Returns memory that is not there any more.
QuoteConfig *dangling() {
	const size_t size = size_t(getpagesize());
	void *page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page, size);
	return static_cast<QuoteConfig *>(page);
}

// Asks the service.
Code request(const Injected &injected, Answer *answer) {
	log(kLogInfo, "[QCNL] Request URL https://pccs.example/sgx/certification/v4/pckcert \n");
	if (injected.action == Action::kReturnCode) {
		log(kLogError, "simulated provider: injected error " + hex(injected.code));
		return injected.code;
	}
	if (injected.action == Action::kStatus) {
		if (injected.status < 100) log(kLogError, "[QCNL] Encountered CURL error: (" + std::to_string(injected.status) + ") simulated \n");
		else log(kLogInfo, "[QCNL] HTTP status code: " + std::to_string(injected.status) + " \n");
		if (injected.answer == "retry") for (;;) pause();
		const Code code = code_of(injected.status);
		log(kLogError, "[QPL] Failed to get quote config. Error code is " + hex(code) + "\n");
		return code;
	}
	log(kLogInfo, "[QCNL] HTTP status code: 200 \n");
	const std::string path = beside("libdcap_quoteprov.platform");
	if (!read(path, answer)) {
		log(kLogError, "simulated provider: no platform in " + path);
		return kNoPlatformCertData;
	}
	spoil(injected.answer, answer);
	return kSuccess;
}

} // namespace

#ifdef AZURE
EXPORT void sgx_ql_set_logging_function(Logger *logger) { g_logger = logger; }
#else
EXPORT Code sgx_ql_set_logging_callback(Logger *logger, uint32_t level) {
	g_logger = logger;
	g_level = int(level);
	return kSuccess;
}

EXPORT Code sgx_qpl_global_init() { return kSuccess; }

EXPORT Code sgx_qpl_clear_cache(uint32_t type) {
	if (type & ~7u) return kInvalidParameter;
	count("clear");
	const std::string path = cache_file();
	if (type & 1 && !path.empty()) remove(path.c_str());
	return kSuccess;
}
#endif

EXPORT Code sgx_ql_get_quote_config(const PCKCertID *id, QuoteConfig **config) {
	if (!id || !config || !id->qe_id || id->qe_id_size != 16 || !id->cpu_svn || !id->pce_svn) return kInvalidParameter;
	count("config");
	if (id->encrypted_ppid && !all_zero(id->encrypted_ppid, id->encrypted_ppid_size)) count("config-ppid");

	Answer answer;
	const std::string cache = cache_file();
	if (!cache.empty() && read(cache, &answer)) {
		log(kLogInfo, "[QCNL] Fetched from the local cache successfully. \n");
		*config = make_config(answer);
		return kSuccess;
	}
	// No thread may wait for the end of the call: the library may be unloaded then.
	const Injected injected = inject("config", false, nullptr);
	const Code code = request(injected, &answer);
	if (code != kSuccess) return code;
	if (!cache.empty()) std::ofstream(cache) << answer.svn << " " << answer.pce_svn << "\n" << answer.chain;
	if (injected.answer == "null") return kSuccess;
	*config = injected.answer == "dangling" ? dangling() : make_config(answer);
	log(kLogInfo, "simulated provider: PCK certificate chain of " + std::to_string(answer.chain.size()) + " bytes");
	return kSuccess;
}

EXPORT Code sgx_ql_free_quote_config(QuoteConfig *config) {
	if (!config) return kInvalidParameter;
	free(config->cert_data);
	free(config);
	return kSuccess;
}
