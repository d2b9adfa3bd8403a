// libsgx_qe3_logic.so: the logic of the quoting library. The enclaves are files that
// describe the enclave. Everything else is as in the original: which files it looks
// for and where, when it calls the provider, and what it refuses with which code.
#include "abi.h"
#include "faults.h"
#include "processor.h"

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <sys/random.h>
#include <unistd.h>
#include <vector>

using namespace dcaptest;

EXPORT {
Logger *sgx_trace_logger_callback = nullptr;
int sgx_trace_loglevel = 0;
}

EXPORT PCETarget sgx_pce_get_target; // of libsgx_pce_logic.so.1

namespace {

// The original logs its errors whatever the level, and to stderr without a logger.
__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...) {
	static thread_local std::string t_line; // a destructor in each thread that logs
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	t_line = std::string("[simulated QE library] ") + text + "\n";
	if (sgx_trace_logger_callback) sgx_trace_logger_callback(kLogError, t_line.c_str());
	else fputs(t_line.c_str(), stderr);
}

#pragma pack(push, 1)
// The QE's file, which identity.go writes.
struct QE {
	char magic[16];
	TargetInfo target;
	uint8_t key[138]; // PKCS #8
	uint8_t encrypted_ppid[kEncryptedPPIDSize];
	QuoteHead head; // of every quote, except body, signature and sizes
};
#pragma pack(pop)
constexpr char kMagic[sizeof(QE::magic)] = "simulated QE3 1";

struct TCB {
	uint8_t cpu_svn[16];
	uint16_t pce_svn;
	bool operator==(const TCB &other) const { return memcmp(cpu_svn, other.cpu_svn, 16) == 0 && pce_svn == other.pce_svn; }
};

// The key ID of Intel's QE, as in the original.
const AttKeyID kAttKeyID = {
	0, 0, 32,
	{0x8c, 0x4f, 0x57, 0x75, 0xd7, 0x96, 0x50, 0x3e, 0x96, 0x13, 0x7f, 0x77, 0xc6, 0x8a, 0x82, 0x9a,
	 0x00, 0x56, 0xac, 0x8d, 0xed, 0x70, 0x14, 0x0b, 0x08, 0x1b, 0x09, 0x44, 0x90, 0xc5, 0x7b, 0xff},
	1, {}, {}, {}, 2,
};

bool supported(const AttKeyID *id) {
	return !id || (id->id == 0 && id->version == 0 && id->mr_signer_length == 32 && id->prod_id == 1 && id->algorithm == 2 &&
	               memcmp(id->mr_signer, kAttKeyID.mr_signer, 32) == 0);
}

// Bounds of the certification data that the QE accepts, and its size after the fault
// "huge", in bytes.
constexpr size_t kMinCertData = 500;
constexpr size_t kMaxCertData = 4098 * 3;
constexpr size_t kHugeCertData = 12000;

// The state of the library. The mutex is held during each call, including that of the
// provider.
struct Library {
	std::mutex mutex;
	uint32_t policy = kPersistent;
	std::string qe3_path, ide_path, qpl_path;

	std::unique_ptr<QE> qe; // while the enclave is loaded
	Key key;
	bool id_read = false; // the ID enclave is needed once per process

	// The certified attestation key, after the first init.
	bool certified = false;
	QuoteHead certified_head;
	TCB tcb;

	// Faults that last.
	bool lost = false;
	bool huge = false;
};
Library g;
const char *const g_delay = getenv("DCAPTEST_DELAY");

std::string beside(const char *name) {
	Dl_info info;
	if (!dladdr(reinterpret_cast<void *>(&beside), &info)) return name;
	const std::string self = info.dli_fname;
	return self.substr(0, self.rfind('/') + 1) + name;
}

bool readable(const std::string &path) { return access(path.c_str(), R_OK) == 0; }

// The PCE is needed for every call, before the QE is loaded.
Code check_pce() {
	const uint32_t code = sgx_pce_get_target(nullptr, nullptr);
	if (code == 0) return kSuccess;
	log_error("the PCE failed with 0x%04x", code);
	return kInterfaceUnavailable;
}

// The SDK's runtime handles these signals once it has opened the device, and passes on
// what it does not understand.
constexpr int kSignals[] = {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP};
struct sigaction g_old[NSIG];

void on_signal(int number, siginfo_t *info, void *context) {
	const struct sigaction &old = g_old[number];
	if (old.sa_flags & SA_SIGINFO) old.sa_sigaction(number, info, context);
	else if (old.sa_handler == SIG_DFL) signal(number, SIG_DFL); // which faults again
	else if (old.sa_handler != SIG_IGN) old.sa_handler(number);
}

void handle_signals() {
	static bool done;
	if (done) return;
	done = true;
	struct sigaction action = {};
	action.sa_sigaction = on_signal;
	action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART | SA_ONSTACK;
	for (const int number : kSignals) sigaction(number, &action, &g_old[number]);
}

// The original enters an enclave that is not the QE as if it were, and crashes.
int *volatile g_nowhere;
void enter_other_enclave() { *const_cast<volatile int *>(g_nowhere) = 1; }

Code load_qe() {
	if (g.qe) return kSuccess;
	std::string path = g.qe3_path;
	if (path.empty()) path = beside("libsgx_qe3.signed.so.1");
	if (!readable(path)) path = beside("libsgx_qe3.signed.so");
	std::ifstream file(path, std::ios::binary);
	auto qe = std::make_unique<QE>();
	if (file && file.peek() == std::ifstream::traits_type::eof()) {
		log_error("%s is empty", path.c_str());
		return kOutOfMemory;
	}
	handle_signals();
	std::string head(10, 0);
	file.read(&head[0], std::streamsize(head.size()));
	if (head == "stands for") enter_other_enclave();
	file.clear();
	file.seekg(0);
	if (!file.read(reinterpret_cast<char *>(qe.get()), sizeof(QE)) || memcmp(qe->magic, kMagic, sizeof kMagic) != 0) {
		log_error("%s is not a simulated quoting enclave", path.c_str());
		return kEnclaveLoadError;
	}
	g.key = read_key(qe->key, sizeof qe->key);
	if (!g.key) {
		log_error("%s has no attestation key", path.c_str());
		return kEnclaveLoadError;
	}
	g.qe = std::move(qe);
	return kSuccess;
}

void unload_qe() {
	g.qe.reset();
	g.key.reset();
}

Code read_id() {
	if (g.id_read) return kSuccess;
	const std::string path = g.ide_path.empty() ? beside("libsgx_id_enclave.signed.so.1") : g.ide_path;
	if (!readable(path)) {
		log_error("no ID enclave file %s", path.c_str());
		return kEnclaveLoadError;
	}
	g.id_read = true;
	return kSuccess;
}

// The provider is loaded again for each request.
void *open_provider() {
	if (!g.qpl_path.empty()) return dlopen(g.qpl_path.c_str(), RTLD_LAZY);
	void *handle = dlopen("libdcap_quoteprov.so.1", RTLD_LAZY);
	if (!handle) handle = dlopen("libdcap_quoteprov.so", RTLD_LAZY);
	if (!handle) return nullptr;
	const auto global_init = reinterpret_cast<GlobalInit *>(dlsym(handle, "sgx_qpl_global_init"));
	if (global_init && global_init() != kSuccess) {
		dlclose(handle);
		return nullptr;
	}
	return handle;
}

// Fetches TCB and certification data from the provider; chain may be nullptr.
Code ask_provider(bool with_ppid, TCB *tcb, std::vector<uint8_t> *chain) {
	const std::unique_ptr<void, int (*)(void *)> handle(open_provider(), dlclose);
	if (!handle) {
		log_error("no provider: %s", dlerror());
		return kPlatformLibUnavailable;
	}
	const auto get = reinterpret_cast<GetQuoteConfig *>(dlsym(handle.get(), "sgx_ql_get_quote_config"));
	const auto free = reinterpret_cast<FreeQuoteConfig *>(dlsym(handle.get(), "sgx_ql_free_quote_config"));
	if (!get || !free) {
		log_error("the provider lacks a function");
		return kPlatformLibUnavailable;
	}
	const QuoteHead &head = g.qe->head;
	const uint16_t pce_svn = head.header.pce_svn;
	PCKCertID id = {};
	id.qe_id = head.header.qe_id;
	id.qe_id_size = sizeof head.header.qe_id;
	id.cpu_svn = head.qe_report.cpu_svn;
	id.pce_svn = &pce_svn;
	if (with_ppid) {
		id.encrypted_ppid = g.qe->encrypted_ppid;
		id.encrypted_ppid_size = kEncryptedPPIDSize;
	}
	id.crypto_suite = kCryptoSuiteRSA3072;
	QuoteConfig *config = nullptr;
	Code code = get(&id, &config);
	if (code != kSuccess) {
		log_error("the provider failed with 0x%04x", code);
	} else if (!config || config->version != 1 || !config->cert_data) {
		code = kNoPlatformCertData;
	} else {
		memcpy(tcb->cpu_svn, config->cert_cpu_svn, sizeof tcb->cpu_svn);
		tcb->pce_svn = config->cert_pce_svn;
		if (chain) chain->assign(config->cert_data, config->cert_data + config->cert_data_size);
	}
	if (config) free(config);
	return code;
}

// Offers the provider the key that was certified, as the original does. It may do without.
void store_key() {
	const std::unique_ptr<void, int (*)(void *)> handle(open_provider(), dlclose);
	if (!handle) return;
	const auto write = reinterpret_cast<WritePersistentData *>(dlsym(handle.get(), "sgx_ql_write_persistent_data"));
	if (!write) return;
	const QuoteHead &head = g.certified_head;
	KeyBlob blob = {};
	blob.text_offset = sizeof blob.secret;
	blob.payload_size = uint32_t(sizeof blob - offsetof(KeyBlob, secret));
	blob.qe_report.body = head.qe_report;
	memcpy(blob.qe_report_signature, head.qe_report_signature, sizeof blob.qe_report_signature);
	memcpy(blob.key, head.key, sizeof blob.key);
	memcpy(blob.key_id, head.qe_report.report_data, sizeof blob.key_id);
	blob.auth_data_size = head.auth_data_size;
	memcpy(blob.auth_data, head.auth_data, sizeof blob.auth_data);
	memcpy(blob.qe_id, head.header.qe_id, sizeof blob.qe_id);
	write(reinterpret_cast<const uint8_t *>(&blob), sizeof blob, "ecdsa_data.blob");
}

// Checks the chain, and makes it what the quote contains.
Code check_chain(const TCB &tcb, std::vector<uint8_t> *chain) {
	if (g.huge && !chain->empty()) {
		const uint8_t last = chain->back();
		chain->back() = '\n';
		chain->resize(kHugeCertData, '\n');
		chain->back() = last;
	}
	if (chain->size() < kMinCertData || chain->size() > kMaxCertData) return kCertDataInvalid;
	return tcb == g.tcb ? kSuccess : kAttKeyNotInitialized;
}

// Checks what size and quote need: the enclaves and the key that was certified for them.
Code enter() {
	Code code = check_pce();
	if (code == kSuccess) code = load_qe();
	if (code != kSuccess) return code;
	return g.certified && memcmp(&g.certified_head, &g.qe->head, sizeof(QuoteHead)) == 0 ? kSuccess : kAttKeyNotInitialized;
}

// Counts a call, injects a fault, and holds the mutex until the end of the call.
struct Call {
	const std::lock_guard<std::mutex> lock{g.mutex};
	Injected injected;

	explicit Call(const char *function) {
		count(function);
		injected = inject(function, true, [] {
			{ const std::lock_guard<std::mutex> over(g.mutex); }
			sleep_for("200ms"); // for the end of the call, after the mutex is released
		});
		if (injected.action == Action::kLoseEnclave) g.lost = true;
		if (injected.action == Action::kGrowQuote) g.huge = true;
	}
	~Call() {
		if (g.policy == kEphemeral) unload_qe();
	}
	// The code that the call must return at once.
	Code injected_code() const {
		if (injected.action == Action::kReturnCode) return injected.code;
		return g.lost ? kEnclaveLost : kSuccess;
	}
};

Code set_path(std::string *to, const char *path) {
	if (strnlen(path, 260) > 259) return kInvalidParameter;
	const std::lock_guard<std::mutex> lock(g.mutex);
	*to = path;
	return kSuccess;
}

} // namespace

EXPORT Code sgx_set_qe3_path(const char *path) { return set_path(&g.qe3_path, path); }
EXPORT Code sgx_set_ide_path(const char *path) { return set_path(&g.ide_path, path); }
EXPORT Code sgx_set_qpl_path(const char *path) { return set_path(&g.qpl_path, path); }

EXPORT Code sgx_ql_get_keyid(AttKeyIDExt *id) {
	if (!id) return kInvalidParameter;
	memset(id, 0, sizeof *id);
	id->base = kAttKeyID;
	return kSuccess;
}

EXPORT Code sgx_ql_set_enclave_load_policy(uint32_t policy) {
	if (policy != kPersistent && policy != kEphemeral) return kUnsupportedLoadingPolicy;
	const std::lock_guard<std::mutex> lock(g.mutex);
	g.policy = policy;
	if (policy == kEphemeral) {
		unload_qe();
		g.lost = false; // the enclave is loaded again
	}
	return kSuccess;
}

EXPORT Code sgx_ql_init_quote(const AttKeyID *id, TargetInfo *target, bool, size_t *key_id_size, uint8_t *key_id) {
	if (!key_id_size || !supported(id)) return kInvalidParameter;
	if (!key_id) { // the caller wants only the size
		*key_id_size = kKeyIDSize;
		return kSuccess;
	}
	if (*key_id_size != kKeyIDSize || !target) return kInvalidParameter;
	const Call call("init");
	Code code = call.injected_code();
	if (code == kSuccess) code = check_pce();
	if (code == kSuccess) code = load_qe();
	if (code == kSuccess) code = read_id();
	if (code != kSuccess) return code;
	TCB tcb;
	code = ask_provider(true, &tcb, nullptr);
	if (code == kPlatformLibUnavailable) { // then the key is certified at the current TCB
		memcpy(tcb.cpu_svn, g.qe->head.qe_report.cpu_svn, sizeof tcb.cpu_svn);
		tcb.pce_svn = g.qe->head.header.pce_svn;
	} else if (code != kSuccess) {
		return code;
	}
	if (tcb.pce_svn > g.qe->head.header.pce_svn) {
		log_error("the key cannot be certified for a TCB that the platform does not have");
		return kKeyCertificationError;
	}
	g.certified = true;
	g.certified_head = g.qe->head;
	g.tcb = tcb;
	store_key();
	*target = g.qe->target;
	memcpy(key_id, g.qe->head.qe_report.report_data, kKeyIDSize);
	return kSuccess;
}

EXPORT Code sgx_ql_get_quote_size(const AttKeyID *id, uint32_t *size) {
	if (!size || !supported(id)) return kInvalidParameter;
	const Call call("size");
	Code code = call.injected_code();
	if (code == kSuccess) code = enter();
	if (code != kSuccess) return code;
	TCB tcb;
	std::vector<uint8_t> chain;
	code = ask_provider(false, &tcb, &chain);
	if (code == kSuccess) code = check_chain(tcb, &chain);
	if (code == kPlatformLibUnavailable) {
		chain.resize(sizeof(EncryptedPPIDCert));
		code = kSuccess;
	}
	if (code != kSuccess) return code;
	*size = uint32_t(sizeof(QuoteHead) + chain.size());
	if (call.injected.action == Action::kShortSize) *size -= 100;
	return kSuccess;
}

EXPORT Code sgx_ql_get_quote(const Report *report, const AttKeyID *id, QEReportInfo *info, uint8_t *quote, uint32_t size) {
	if (!report || !quote || !supported(id)) return kInvalidParameter;
	const Call call("quote");
	if (g_delay) sleep_for(g_delay);
	Code code = call.injected_code();
	if (code == kSuccess) code = enter();
	if (code != kSuccess) return code;

	// The original fetches the size first.
	TCB tcb;
	std::vector<uint8_t> chain;
	uint16_t type = kCertPCKChain;
	code = ask_provider(false, &tcb, nullptr);
	if (code == kSuccess) {
		if (ask_provider(false, &tcb, &chain) != kSuccess) return kUnexpected;
		code = check_chain(tcb, &chain);
	} else if (code == kPlatformLibUnavailable) {
		EncryptedPPIDCert cert = {};
		memcpy(cert.encrypted_ppid, g.qe->encrypted_ppid, sizeof cert.encrypted_ppid);
		memcpy(cert.cpu_svn, g.tcb.cpu_svn, sizeof cert.cpu_svn);
		cert.pce_svn = g.tcb.pce_svn;
		const auto *bytes = reinterpret_cast<const uint8_t *>(&cert);
		chain.assign(bytes, bytes + sizeof cert);
		type = kCertEncryptedPPID;
		code = kSuccess;
	}
	if (code != kSuccess) return code;
	const size_t needed = sizeof(QuoteHead) + chain.size();
	if (size < needed) return kInvalidParameter;
	if (call.injected.action == Action::kGarbage) {
		for (size_t done = 0; done < size;) done += size_t(std::max<ssize_t>(0, getrandom(quote + done, size - done, 0)));
		return kSuccess;
	}
	if (!genuine(*report, g.qe->target)) return kInvalidReport;

	QuoteHead head = g.qe->head;
	head.body = report->body;
	head.signature_data_size = uint32_t(needed - offsetof(QuoteHead, signature));
	head.cert_type = type;
	head.cert_size = uint32_t(chain.size());
	if (!sign(g.key.get(), &head, offsetof(QuoteHead, signature_data_size), head.signature)) return kUnexpected;
	memcpy(quote, &head, sizeof head);
	memcpy(quote + sizeof head, chain.data(), chain.size());

	if (info) { // proves to the challenger that this QE made this quote for this nonce
		ReportBody body = head.qe_report;
		memcpy(body.mr_enclave, g.qe->target.mr_enclave, sizeof body.mr_enclave);
		memcpy(body.cpu_svn, report->body.cpu_svn, sizeof body.cpu_svn);
		memset(body.report_data, 0, sizeof body.report_data);
		hash(info->nonce, sizeof info->nonce, quote, needed, body.report_data);
		info->qe_report = make_report(body, info->target);
	}
	return kSuccess;
}
