#include "faults.h"

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <stdexcept>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace dcaptest {
namespace {

// The environment as it was when the library was loaded.
std::string environment(const char *name) {
	const char *value = getenv(name);
	return value ? value : "";
}
const std::string g_faults = environment("DCAPTEST_FAULTS");
const std::string g_counters = environment("DCAPTEST_COUNTERS");

// Reports a mistake in the test. The library must not go on as if there were no fault.
[[noreturn]] void misused(const std::string &what) {
	fprintf(stderr, "dcaptest: %s\n", what.c_str());
	abort();
}

bool starts_with(const std::string &s, const std::string &prefix) { return s.compare(0, prefix.size(), prefix) == 0; }

int64_t nanoseconds(const std::string &text) {
	char *unit;
	const double n = strtod(text.c_str(), &unit);
	const std::string u = unit;
	if (unit != text.c_str() && n >= 0) {
		if (u == "us") return n * 1e3;
		if (u == "ms") return n * 1e6;
		if (u == "s") return n * 1e9;
	}
	misused("'" + text + "' is not a duration: a number and us, ms or s");
}

int64_t now() {
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// A null pointer that the compiler does not know to be one.
int *volatile g_nowhere;

__attribute__((noinline)) void fault() { *const_cast<volatile int *>(g_nowhere) = 1; }

// A handler as careless libraries install it: not on the alternate stack, and for the
// whole process, though it can handle only its own fault.
thread_local sigjmp_buf t_back;
thread_local volatile sig_atomic_t t_faulting;

void on_fault(int) {
	if (t_faulting) siglongjmp(t_back, 1);
	signal(SIGSEGV, SIG_DFL); // which faults again
}

void fault_and_recover() {
	struct sigaction action = {};
	action.sa_handler = on_fault;
	sigaction(SIGSEGV, &action, nullptr);
	if (sigsetjmp(t_back, 1) == 0) {
		t_faulting = 1;
		fault();
	}
	t_faulting = 0;
}

// A type with a constructor and a destructor in each thread.
struct Counted {
	std::vector<int> seen;
};
thread_local Counted t_counted;

void run_threads() {
	std::vector<std::thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([i] {
			for (int n = 0; n < 100; n++) {
				try {
					if (n % 2) throw std::runtime_error("expected");
					t_counted.seen.push_back(i);
				} catch (const std::runtime_error &) {
					t_counted.seen.push_back(-i);
				}
			}
			if (t_counted.seen.size() != 100) misused("a thread has the variables of another");
		});
	for (auto &t : threads) t.join();
}

Injected fail(const std::string &function, const std::string &what, const std::function<void()> &after) {
	if (what == "segv") fault();
	else if (what == "abort") abort();
	else if (what == "exit") exit(3);
	else if (what == "hang") for (;;) pause();
	else if (starts_with(what, "hang-")) sleep_for(what.substr(5));
	else if (what == "handler") fault_and_recover();
	else if (what == "threads") run_threads();
	else if (starts_with(what, "spin-")) {
		for (const int64_t end = now() + nanoseconds(what.substr(5)); now() < end;) {}
	} else if (starts_with(what, "grow-")) {
		const size_t size = strtoul(what.c_str() + 5, nullptr, 10) << 20;
		volatile char *memory = static_cast<char *>(malloc(size)); // for ever
		for (size_t i = 0; memory && i < size; i += 4096) memory[i] = 1;
	} else if (what == "stray-thread-segv" && after)
		std::thread([after] {
			after();
			fault();
		}).detach();
	else if (starts_with(what, "error-")) return {Action::kReturnCode, Code(strtoul(what.c_str() + 6, nullptr, 16)), 0, ""};
	else if (starts_with(what, "status-") && function == "config") return {Action::kStatus, kSuccess, atoi(what.c_str() + 7), ""};
	else if (starts_with(what, "retry-") && function == "config") return {Action::kStatus, kSuccess, atoi(what.c_str() + 6), "retry"};
	else if (starts_with(what, "curl-") && function == "config") return {Action::kStatus, kSuccess, atoi(what.c_str() + 5), ""};
	else if (starts_with(what, "answer-") && function == "config") return {Action::kAnswer, kSuccess, 0, what.substr(7)};
	else if (what == "lost-once") return {Action::kReturnCode, kEnclaveLost, 0, ""};
	else if (what == "lost" && function != "config") return {Action::kLoseEnclave, kSuccess, 0, ""};
	else if (what == "huge" && function != "config") return {Action::kGrowQuote, kSuccess, 0, ""};
	else if (what == "short-size" && function == "size") return {Action::kShortSize, kSuccess, 0, ""};
	else if (what == "garbage" && function == "quote") return {Action::kGarbage, kSuccess, 0, ""};
	else misused("'" + what + "' is not a failure mode of '" + function + "'");
	return {};
}

} // namespace

void sleep_for(const std::string &text) {
	const int64_t n = nanoseconds(text);
	timespec left = {time_t(n / 1000000000), long(n % 1000000000)};
	while (nanosleep(&left, &left) != 0) {} // go on after a signal
}

void count(const char *function) {
	if (g_counters.empty()) return;
	const std::string path = g_counters + "/" + function + "-" + std::to_string(getpid());
	const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, ".", 1) != 1) misused("count in " + path + ": " + strerror(errno));
	close(fd);
}

Injected inject(const std::string &function, bool any, std::function<void()> after) {
	if (g_faults.empty()) return {};
	DIR *dir = opendir(g_faults.c_str());
	if (!dir) misused("read faults in " + g_faults + ": " + strerror(errno));
	std::string what; // a sticky fault is injected only if there is no other
	while (const dirent *entry = readdir(dir)) {
		const std::string name = entry->d_name;
		const size_t dot = name.find('.');
		const std::string to = name.substr(0, dot);
		if (dot == std::string::npos || (to != function && !(any && to == "any"))) continue;
		const std::string mode = name.substr(dot + 1, name.find('.', dot + 1) - dot - 1);
		if (starts_with(mode, "sticky-")) {
			what = mode.substr(7);
		} else if (unlinkat(dirfd(dir), entry->d_name, 0) == 0) { // otherwise another process has taken it
			what = mode;
			break;
		}
	}
	closedir(dir);
	return what.empty() ? Injected{} : fail(function, what, after);
}

} // namespace dcaptest
