// Loads the quoting library that is its argument and makes the calls that it reads
// from standard input. Each line is a call: a function and its arguments, bytes in
// hexadecimal. For each it prints a line: the code and the output.
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *library;

static void *function(const char *name) {
	void *f = dlsym(library, name);
	if (!f) {
		fprintf(stderr, "no %s\n", name);
		exit(1);
	}
	return f;
}

static size_t bytes(const char *hex, uint8_t *to, size_t size) {
	size_t n = 0;
	for (; hex && n < size && sscanf(hex + 2 * n, "%2hhx", &to[n]) == 1; n++) {}
	return n;
}

static void answer(uint32_t code) { printf("%04x", code); }

static void add(const uint8_t *data, size_t size) {
	putchar(' ');
	for (size_t i = 0; i < size; i++) printf("%02x", data[i]);
}

static void on_log(uint32_t level, const char *text) { fprintf(stderr, "log %u: %s", level, text); }

int main(int argc, char **argv) {
	static char line[1 << 16];
	static uint8_t quote[1 << 16], report[432], target[512], id[32], info[16 + 512 + 432], key_id[256];
	if (argc != 2 || !(library = dlopen(argv[1], RTLD_NOW))) {
		fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: driver LIBRARY");
		return 1;
	}
	while (fgets(line, sizeof line, stdin)) {
		const char *what = strtok(line, " \n");
		const char *a = strtok(NULL, " \n"), *b = strtok(NULL, " \n"), *c = strtok(NULL, " \n");
		if (!strcmp(what, "log")) {
			answer(((uint32_t(*)(void *, uint32_t))function("sgx_ql_set_trace_callback"))(on_log, atoi(a)));
		} else if (!strcmp(what, "policy")) {
			answer(((uint32_t(*)(uint32_t))function("sgx_qe_set_enclave_load_policy"))(atoi(a)));
		} else if (!strcmp(what, "cleanup")) {
			answer(((uint32_t(*)(void))function("sgx_qe_cleanup_by_policy"))());
		} else if (!strcmp(what, "path")) {
			answer(((uint32_t(*)(uint32_t, const char *))function("sgx_ql_set_path"))(atoi(a), b));
		} else if (!strcmp(what, "keyid")) {
			answer(((uint32_t(*)(void *))function("sgx_ql_get_keyid"))(key_id));
			add(key_id, sizeof key_id);
		} else if (!strcmp(what, "target")) {
			answer(((uint32_t(*)(void *))function("sgx_qe_get_target_info"))(target));
			add(target, sizeof target);
		} else if (!strcmp(what, "init")) {
			size_t size = sizeof id;
			answer(((uint32_t(*)(void *, void *, bool, size_t *, void *))function("sgx_ql_init_quote"))(NULL, target, false, &size, id));
			add(target, sizeof target);
			add(id, sizeof id);
		} else if (!strcmp(what, "size")) {
			uint32_t size = 0;
			answer(((uint32_t(*)(uint32_t *))function("sgx_qe_get_quote_size"))(&size));
			printf(" %u", size);
		} else if (!strcmp(what, "quote")) { // size report
			memset(quote, 0, sizeof quote);
			bytes(b, report, sizeof report);
			answer(((uint32_t(*)(void *, uint32_t, void *))function("sgx_qe_get_quote"))(report, atoi(a), quote));
			add(quote, atoi(a));
		} else if (!strcmp(what, "challenge")) { // size report nonce-and-target
			memset(quote, 0, sizeof quote);
			bytes(b, report, sizeof report);
			bytes(c, info, 16 + 512);
			answer(((uint32_t(*)(void *, void *, void *, void *, uint32_t))function("sgx_ql_get_quote"))(report, NULL, info, quote, atoi(a)));
			add(quote, atoi(a));
			add(info + 16 + 512, 432);
		} else if (!strcmp(what, "handled")) { // prints whether SIGSEGV has a handler, and on which stack
			struct sigaction action;
			sigaction(SIGSEGV, NULL, &action);
			printf("0000 %s", action.sa_handler == SIG_DFL ? "no" : action.sa_flags & SA_ONSTACK ? "alternate" : "own");
		} else {
			fprintf(stderr, "unknown call %s\n", what);
			return 1;
		}
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}
