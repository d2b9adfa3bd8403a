# `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
# Installing Debian packages needs these directories, which a user's PATH lacks.
export PATH := $(PATH):/usr/sbin:/sbin

VERSION := $(shell sed -n 's/^appVersion: *//p' charts/confcom/Chart.yaml)
PROGRAMS := confcom sgx-device-plugin sgx-node-resource sgx-quote-helper attested-job attested-service relying-party
# Modules of this repository. ./... in one of them leaves the others out.
MODULES := . tools test/cluster examples/programs
# Packages that must build for every platform on which people verify quotes.
PORTABLE := ./sgx/... ./tdx/... ./quote/... ./evidence/... ./attest/... ./aesm/... ./cmd/confcom
PORTABLE_TO := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Programs are the same bytes wherever they are built. Without the tag grpcnotrace, gRPC
# links a template engine of 3 MB into each program, for pages that nothing serves.
BUILD_FLAGS := -trimpath -buildvcs=false -tags grpcnotrace
# The linker writes the version into the programs.
LDFLAGS := -s -w -X github.com/confcom/confcom/internal/buildinfo.release=$(VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 21

# These two check what make cannot install, before anything runs.
.PHONY: go
go:
	@go version >/dev/null 2>&1 || { echo "missing: Go 1.26.6 or newer, or an older one that can download it (GOTOOLCHAIN=auto). Install Go, put it on the PATH and try again." >&2; exit 1; }

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo "this target starts containers and must run as root: try 'sudo env PATH=\"\$$PATH\" make $(MAKECMDGOALS)'. 'make check' and 'bin/confcom demo' need no root." >&2; exit 1; }

.PHONY: demo
demo: root images ## Start a one-node Kubernetes cluster and run a confidential job on it (needs root)
	@test/install.sh
	@eval "$$(bin/cluster env)" && examples/attested-job/demo.sh

.PHONY: demo-down
demo-down: bin/cluster ## Stop and remove the demo's cluster
	@test/uninstall.sh

.PHONY: test
test: root go ## Run the full test suite: check, fuzz, other verifiers, a real cluster (needs root)
	@test/prerequisites.sh
	@$(MAKE) generated check fuzz oracles kubelet e2e

.PHONY: check
check: go bin/tools ## Format, vet, lint, cross-compile, and unit tests with the race detector: quick, no root
	@echo "gofmt, vet, staticcheck"
	@unformatted=$$(gofmt -l .); \
		if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	@for module in $(MODULES); do go -C $$module vet ./...; done
	@for module in . tools; do (cd $$module && $(CURDIR)/bin/tools/staticcheck ./...); done
	@$(MAKE) portable
	@go test -race ./...
	@go -C tools test -count=1 ./... # it reads the whole tree, which the test cache does not notice
	@go -C test/cluster test ./...

.PHONY: portable
portable: go # cross-compile the portable packages
	@echo "cross-compile for $(PORTABLE_TO)"
	@failed=; for platform in $(PORTABLE_TO); do \
		output=$$(CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build $(BUILD_FLAGS) $(PORTABLE) 2>&1) || { failed+=" $$platform"; echo "$$platform:"; echo "$$output"; }; \
	done; [ -z "$$failed" ] || { echo "these platforms do not build:$$failed"; exit 1; }

FUZZTIME := 5s

# Go sometimes reports the end of the time as a failure: without a failing input it is none.
.PHONY: fuzz
fuzz: go ## Run each fuzz target for a while (FUZZTIME=10m for longer)
	@trap 'rm -f fuzz.log' EXIT; \
	targets=$$(grep -r --include='*_test.go' --exclude-dir={cluster,tools} -o '^func Fuzz[A-Za-z0-9]*' . | sort); \
	while IFS=: read -r file target; do \
		package=$$(dirname "$$file"); target=$${target#func }; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x "$$package" >fuzz.log 2>&1 </dev/null || \
			{ grep -qx '    context deadline exceeded' fuzz.log && ! grep -q 'Failing input' fuzz.log; } || { cat fuzz.log; exit 1; }; \
		echo "fuzzed $${package#./} $$target: $$(sed -n 's/^fuzz: elapsed.*execs: \([0-9]*\).*/\1/p' fuzz.log | tail -1) inputs"; \
	done <<<"$$targets"

SOAK := 10m

.PHONY: soak
soak: root go ## Run hostile clients against the quote helper while others get quotes (needs root; SOAK=1h for longer)
	@go test -count=1 -v -timeout 24h ./test/soak -soak=$(SOAK)

.PHONY: bench-quote-helper
bench-quote-helper: go ## Compare the quote helper with a minimal server
	@go test -timeout 30m -run '^$$' -bench . ./test/soak

.PHONY: bench-workers
bench-workers: go ## Measure the quote helper's workers on the stand-in for Intel's DCAP library
	@go test -timeout 30m -run '^$$' -bench . -benchtime 1x ./test/integration

.PHONY: oracles
oracles: go ## Verify our quotes with other projects' verifiers
	@modules="$$(test/oracles/install.sh)"; CONFCOM_ORACLES="$$modules" go test -count=1 ./test/oracles

.PHONY: e2e
e2e: root images trial worker ## Run the end-to-end tests on a real cluster and stop it (needs root)
	@trap test/uninstall.sh EXIT; \
		CONFCOM_ORACLES="$$(test/oracles/install.sh)"; export CONFCOM_ORACLES; \
		test/install.sh && eval "$$(bin/cluster env)" && go test -count=1 ./test/chart && CONFCOM_E2E=1 go test -count=1 -v -timeout 1h ./test/e2e

.PHONY: changes
changes: root images ## Make every change of an installation in every situation, and every outage of a node (needs root; two hours)
	@trap test/uninstall.sh EXIT; test/install.sh && eval "$$(bin/cluster env)" && \
		CONFCOM_E2E=1 CONFCOM_E2E_LONG=1 CONFCOM_E2E_REINSTALLS=20 go test -count=1 -v -timeout 3h \
			-run 'TestChanges|TestReinstall$$|TestReinstallInModeNode|TestDevicesToNode|TestPolicies|TestOutages|TestFullDisk' ./test/e2e

# The flags are those of the test cluster's kubelet, so that Go's build cache has
# most of it already.
KUBELET_TEST := CONFCOM_DEVICE_PLUGIN=$(CURDIR)/bin/sgx-device-plugin CGO_ENABLED=0 \
	go -C test/cluster test -trimpath -tags no_btrfs,no_devmapper,no_zfs,kubelet -count=1

.PHONY: kubelet
kubelet: root bin bin/cluster ## Test the device plugin against the kubelet's own device manager (needs root)
	@bin/cluster build
	@$(KUBELET_TEST) ./kubelet

.PHONY: bench-device-plugin
bench-device-plugin: root images ## Measure the device plugin with the kubelet's device manager and on a real cluster (needs root)
	@ls -l bin/sgx-device-plugin bin/sgx-node-resource
	@bin/cluster build
	@$(KUBELET_TEST) -timeout 1h -run '^$$' -bench . -benchtime 1x -count 5 ./kubelet
	@trap test/uninstall.sh EXIT; \
		test/install.sh && eval "$$(bin/cluster env)" && \
		CONFCOM_E2E=1 go test -timeout 2h -run '^$$' -bench . -benchtime 1x -count 3 ./test/e2e

# tools/release builds programs for other platforms, elsewhere, with this target.
BIN := bin
PACKAGES := ./cmd/... ./examples/...

.PHONY: bin
bin: go ## Build the static programs into bin/
	@echo "building $(PROGRAMS)"
	@mkdir -p '$(BIN)' && CGO_ENABLED=0 go build $(BUILD_FLAGS) -ldflags '$(LDFLAGS)' -o '$(BIN)/' $(PACKAGES)

.PHONY: worker
worker: go ## Build the quote worker for SGX hardware into bin/ (needs a C compiler)
	@echo "building sgx-quote-worker"
	@mkdir -p bin && CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/sgx-quote-worker
	@gcc -shared -fPIC -O2 -Wall -Wextra -Werror -o bin/libconfcom_provider.so cmd/sgx-quote-worker/provider/provider.c

# tools/release knows what images there are and what is in them.
.PHONY: images
images: bin bin/cluster bin/release ## Build the container images as tarballs into dist/, to load them into a cluster
	@bin/release images --source . --programs bin --output dist

# What the end-to-end tests push to a registry and install from there.
.PHONY: trial
trial: bin/release # build a release of the checkout as it is, for linux/amd64
	@bin/release build --as-is --source . --output dist/trial

# REGISTRY, if set, becomes the default of the chart's global.imageRegistry.
REGISTRY :=

.PHONY: release
release: bin/release ## Build a release from the commit that is checked out, into dist/release (REGISTRY=registry.example.org)
	@bin/release build --source . --output dist/release --registry '$(REGISTRY)'

# These three always run: only Go knows whether what they build is up to date.
.PHONY: bin/cluster
bin/cluster: go
	@echo "building the test cluster's tool"
	@mkdir -p bin && CGO_ENABLED=0 go -C test/cluster build -o ../../bin/cluster .

.PHONY: bin/release
bin/release: go
	@mkdir -p bin && CGO_ENABLED=0 go -C tools build -o ../bin/release ./release

.PHONY: bin/tools
bin/tools: go # the developer tools that tools/go.mod lists
	@go -C tools build -o ../bin/tools/ tool

# Where go:generate lines find the tools.
TOOLS_PATH := PATH="$(CURDIR)/bin/tools:$$PATH"

.PHONY: generate
generate: go bin/tools ## Regenerate the generated code (needs protoc)
	@$(TOOLS_PATH) go generate ./...

# protoc writes its version into what it generates, so only this one will do.
.PHONY: generated
generated: go bin/tools # check that the generated code is up to date
	@skip='^$$'; protoc --version 2>/dev/null | grep -q ' 3\.21\.12$$' || { skip='^//go:generate protoc '; echo "NOT RUN: AESM messages: regenerating them needs protoc 3.21.12"; }; \
		sums() { grep -rl --include='*.go' --exclude-dir=cluster '^// Code generated .* DO NOT EDIT\.$$' . | sort | xargs sha256sum; }; \
		before=$$(sums); $(TOOLS_PATH) go generate -skip "$$skip" ./...; \
		diff <(echo "$$before") <(sums) || { echo "these generated files were out of date and are regenerated now: commit them"; exit 1; }

.PHONY: docs
docs: go ## Regenerate docs/reference
	@go -C tools run ./docgen

.PHONY: tidy
tidy: go # tidy the requirements of all modules
	@for module in $(MODULES); do go -C $$module mod tidy; done

.PHONY: clean
clean: ## Remove what was built
	@rm -rf bin dist
