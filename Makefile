# confcom: `make help` lists what can be made.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
# Where Debian keeps what installing packages needs; a user's PATH lacks it.
export PATH := $(PATH):/usr/sbin:/sbin

VERSION := $(shell sed -n 's/^appVersion: *//p' charts/confcom/Chart.yaml)
PROGRAMS := confcom sgx-device-plugin sgx-node-resource sgx-quote-helper attested-job
IMAGES := confcom sgx-device-plugin sgx-node-resource sgx-quote-helper attested-job
GENERATED := aesm/internal/message/message.pb.go

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 21

# What cannot be installed from here is said in one line, before anything runs.
.PHONY: go
go:
	@go version >/dev/null 2>&1 || { echo "missing: Go 1.26.6 or newer, or one that can fetch it (GOTOOLCHAIN=auto). Install it, put it on the PATH and try again." >&2; exit 1; }

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo "this starts containers and must run as root: try 'sudo env PATH=\"\$$PATH\" make $(MAKECMDGOALS)'. Without root there are 'make check' and 'bin/confcom demo'." >&2; exit 1; }

.PHONY: demo
demo: root images ## Bring up a Kubernetes node and run a confidential job on it (needs root)
	@test/install.sh
	@eval "$$(bin/cluster env)" && examples/attested-job/demo.sh

.PHONY: demo-down
demo-down: bin/cluster ## Take the demo's Kubernetes down again
	@test/uninstall.sh

.PHONY: test
test: root go ## Run everything that must hold: check, fuzz, other verifiers, a real cluster (needs root)
	@test/prerequisites.sh
	@$(MAKE) generated check fuzz oracles kubelet e2e

.PHONY: check
check: go ## Format, vet, lint and unit tests with the race detector: quick, no root
	@echo "gofmt, vet, staticcheck"
	@unformatted=$$(gofmt -l .); \
		if [ -n "$$unformatted" ]; then echo "not gofmt-clean:"; echo "$$unformatted"; exit 1; fi
	@go vet ./... && go tool staticcheck ./...
	@go -C test/cluster vet ./...
	@go test -race ./...
	@go -C test/cluster test ./...

# What parses the bytes of clients, and what people write, each for this time.
FUZZTIME := 10s
FUZZ := aesm.FuzzFrame aesm.FuzzRequest aesm.FuzzReply internal/peer.FuzzCgroup internal/qcnl.FuzzParse \
	quote.FuzzParse attest.FuzzTCBInfo attest.FuzzQEIdentity attest.FuzzPlatform attest.FuzzCRL attest.FuzzCollateral attest/pcs.FuzzBundle

.PHONY: fuzz
fuzz: go ## Fuzz what parses the bytes of clients, for a while (FUZZTIME=10m for longer)
	@for target in $(FUZZ); do \
		go test -run '^$$' -fuzz "^$${target#*.}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x ./$${target%.*} >fuzz.log 2>&1 || { cat fuzz.log; rm -f fuzz.log; exit 1; }; \
		echo "fuzzed $$target: $$(grep '^fuzz: elapsed' fuzz.log | tail -1 | sed 's/.*execs: \([0-9]*\).*/\1/') inputs"; \
	done; rm -f fuzz.log

SOAK := 10m

.PHONY: soak
soak: root go ## Let hostile clients at the quote helper while others quote (needs root; SOAK=1h for longer)
	@go test -count=1 -v -timeout 24h -run 'TestSoak|TestFailureModes' ./test/soak -soak=$(SOAK)

.PHONY: bench-quote-helper
bench-quote-helper: go ## Measure the quote helper against the least that a server can be
	@go test -timeout 30m -run '^$$' -bench . ./test/soak

.PHONY: bench-workers
bench-workers: go ## Measure the workers of the quote helper, on a library that stands in for Intel's
	@go test -timeout 30m -run '^$$' -bench . -benchtime 1x ./test/integration

.PHONY: oracles
oracles: go ## Have other people's verifiers judge our quotes
	@modules="$$(test/oracles/install.sh)"; CONFCOM_ORACLES="$$modules" go test -count=1 ./test/oracles

.PHONY: e2e
e2e: root images worker ## Run what users do on a real cluster, and take it down (needs root)
	@trap test/uninstall.sh EXIT; \
		CONFCOM_ORACLES="$$(test/oracles/install.sh)"; export CONFCOM_ORACLES; \
		test/install.sh && eval "$$(bin/cluster env)" && CONFCOM_E2E=1 go test -count=1 -v ./test/e2e

# The flags with which the test cluster's kubelet is built: so most of it is
# compiled already.
KUBELET_TEST := CONFCOM_DEVICE_PLUGIN=$(CURDIR)/bin/sgx-device-plugin CGO_ENABLED=0 \
	go -C test/cluster test -trimpath -tags no_btrfs,no_devmapper,no_zfs,kubelet -count=1

.PHONY: kubelet
kubelet: root bin bin/cluster ## Run the device plugin against the kubelet's own device manager (needs root)
	@bin/cluster build
	@$(KUBELET_TEST) ./kubelet

.PHONY: bench-device-plugin
bench-device-plugin: root images ## Measure the device plugin, on the kubelet's device manager and a real cluster (needs root)
	@ls -l bin/sgx-device-plugin bin/sgx-node-resource
	@bin/cluster build
	@$(KUBELET_TEST) -timeout 1h -run '^$$' -bench . -benchtime 1x -count 5 ./kubelet
	@trap test/uninstall.sh EXIT; \
		test/install.sh && eval "$$(bin/cluster env)" && \
		CONFCOM_E2E=1 go test -timeout 2h -run '^$$' -bench . -benchtime 1x -count 3 ./test/e2e

# Without the tag gRPC would bring a template engine into each program, 3 MB of
# it, for pages that nothing serves.
.PHONY: bin
bin: go ## Build the static programs into bin/
	@echo "building $(PROGRAMS)"
	@mkdir -p bin && CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags '-s -w -X github.com/confcom/confcom/internal/buildinfo.release=$(VERSION)' -o bin/ ./cmd/... ./examples/...

.PHONY: worker
worker: go ## Build the worker for SGX hardware into bin/, which needs a C compiler
	@echo "building sgx-quote-worker"
	@mkdir -p bin && CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags '-s -w -X github.com/confcom/confcom/internal/buildinfo.release=$(VERSION)' -o bin/ ./cmd/sgx-quote-worker
	@gcc -shared -fPIC -O2 -Wall -Wextra -Werror -o bin/libconfcom_provider.so cmd/sgx-quote-worker/provider/provider.c

.PHONY: images
images: bin bin/cluster ## Build the container images into dist/, as tarballs
	@mkdir -p dist && for image in $(IMAGES); do \
		bin/cluster image build --tag localhost/confcom/$$image:$(VERSION) --output dist/$$image.tar bin/$$image; done

# Always asked for: only Go knows whether it is up to date.
.PHONY: bin/cluster
bin/cluster: go
	@echo "building the test cluster's tool"
	@mkdir -p bin && CGO_ENABLED=0 go -C test/cluster build -o ../../bin/cluster .

.PHONY: generate
generate: ## Make the generated code anew (needs protoc)
	@go generate ./...

# The generator's version is written into what it generates.
.PHONY: generated
generated: go # check that the generated code is what `make generate` makes
	@if ! protoc --version 2>/dev/null | grep -q ' 3\.21\.12$$'; then echo "NOT RUN: generated code: it needs protoc 3.21.12"; exit 0; fi; \
		before=$$(sha256sum $(GENERATED)); go generate ./...; \
		[ "$$before" = "$$(sha256sum $(GENERATED))" ] || { echo "$(GENERATED) was out of date; it is made anew: commit it"; exit 1; }

.PHONY: clean
clean: ## Remove what was built
	@rm -rf bin dist
