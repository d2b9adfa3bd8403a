# confcom: `make help` lists what can be made.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VERSION := $(shell sed -n 's/^appVersion: *//p' charts/confcom/Chart.yaml)
PROGRAMS := confcom sgx-device-plugin sgx-quote-helper attested-job
IMAGES := sgx-device-plugin sgx-quote-helper attested-job

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: demo
demo: images ## Bring up a Kubernetes node and run a confidential job on it (needs root)
	@test/install.sh
	@eval "$$(bin/cluster env)" && examples/attested-job/demo.sh

.PHONY: demo-down
demo-down: bin/cluster ## Take the demo's Kubernetes down again
	@bin/cluster down

.PHONY: test
test: ## Run everything that must hold: check, other verifiers, a real cluster (needs root)
	@test/prerequisites.sh
	@$(MAKE) check oracles e2e

.PHONY: check
check: ## Format, vet, lint and unit tests with the race detector: quick, no root
	@echo "gofmt, vet, staticcheck"
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not gofmt-clean:"; echo "$$unformatted"; exit 1; fi
	@go vet ./... && go tool staticcheck ./...
	@go -C test/cluster vet ./...
	@go test -race ./...
	@go -C test/cluster test ./...

.PHONY: oracles
oracles: ## Have other people's verifiers judge our quotes
	@CONFCOM_ORACLES="$$(test/oracles/install.sh)" go test -count=1 ./test/oracles

.PHONY: e2e
e2e: images ## Run what users do on a real cluster, and take it down (needs root)
	@trap 'bin/cluster down' EXIT; \
		export CONFCOM_ORACLES="$$(test/oracles/install.sh)"; \
		test/install.sh && eval "$$(bin/cluster env)" && CONFCOM_E2E=1 go test -count=1 -v ./test/e2e

.PHONY: bin
bin: ## Build the static programs into bin/
	@echo "building $(PROGRAMS)"
	@mkdir -p bin && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/... ./examples/...

.PHONY: images
images: bin bin/cluster ## Build the container images into dist/, as tarballs
	@mkdir -p dist && for image in $(IMAGES); do \
		bin/cluster image build --tag localhost/confcom/$$image:$(VERSION) --output dist/$$image.tar bin/$$image; done

# Always asked for: only Go knows whether it is up to date.
.PHONY: bin/cluster
bin/cluster:
	@echo "building the test cluster's tool"
	@mkdir -p bin && CGO_ENABLED=0 go -C test/cluster build -o ../../bin/cluster .

.PHONY: generate
generate: ## Make the generated code anew (needs protoc)
	@go generate ./...

.PHONY: clean
clean: ## Remove what was built
	@rm -rf bin dist
