# The two commands to know: `make demo` and `make test`. `make` alone lists all of them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export HAPROXY_IMAGE ?= haproxy:3.0
export CONSUL_IMAGE ?= hashicorp/consul:1.22.0

# Which tests: a pattern of `go test -run`, e.g. make test-integration RUN=TestReload, or make chaos RUN='TestChaos/Consul_has_no_leader'.
# It fails when no test matches. For make test-molecule it is an expression of `pytest -k`.
export RUN ?=

# More flags for `go test`, e.g. GO_TEST_FLAGS=-v.
GO_TEST_FLAGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup build ## Show the whole system at work on a throwaway host in Docker
	@demo/run.sh

.PHONY: demo-ha
demo-ha: setup build ## Show three hosts with a virtual address, and what a wallet notices when one dies
	@demo/ha.sh

.PHONY: demo-clean
demo-clean: ## Remove the hosts of the demos
	@demo/clean.sh

.PHONY: build
build: ## Build the programs for Linux into build/
	@echo 'building the programs into build/' >&2
	@CGO_ENABLED=0 GOOS=linux tools/go.sh build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o build/ ./src/cmd/...

.PHONY: setup
setup: ## Get what the tests and the demo need: Docker, images, Ansible
	@tools/docker-engine.sh
	@tools/images.sh
	@tools/venv.sh >/dev/null

.PHONY: setup-wallets
setup-wallets: ## Get the wallets' libraries, and Node.js for them
	@tools/wallets.sh >/dev/null

.PHONY: images-matrix
images-matrix: setup ## Also get the other HAProxy versions for the integration tests
	@tools/images.sh --matrix

.PHONY: images-nginx
images-nginx: setup ## Also get the nginx that `make failures` compares with
	@tools/images.sh --nginx

.PHONY: test
test: ## Run all tests: unit, integration, molecule, three hosts
	@tools/test.sh

.PHONY: test-unit
test-unit: ## Run the Go tests that need nothing but Go
	@tools/go-test.sh -race $(GO_TEST_FLAGS) -- ./src/... ./test/...

# One package after the other: they use the same loopback addresses.
.PHONY: test-integration
test-integration: setup setup-wallets ## Run the Go tests against real Consul and HAProxy containers
	@tools/go-test.sh -race -count=1 -p 1 -tags integration -timeout 20m $(GO_TEST_FLAGS) -- ./test/handler ./test/frontend ./test/wallets

.PHONY: test-matrix
test-matrix: images-matrix ## Run the integration tests against HAProxy 2.6 and 3.2 too
	@for version in 2.6 3.2; do HAPROXY_IMAGE=haproxy:$$version $(MAKE) --no-print-directory test-integration; done

.PHONY: chaos
chaos: setup ## Break everything under traffic and write what was lost into docs/reliability.md
	@RUN="$${RUN:-^TestChaos$$}" tools/go-test.sh -race -count=1 -tags integration -timeout 60m -v $(GO_TEST_FLAGS) -- ./test/chaos

.PHONY: chaos-ha
chaos-ha: setup ## Break three hosts with a virtual address, and write docs/high-availability.md (an hour)
	@RUN="$${RUN:-^TestChaosHA$$}" tools/go-test.sh -count=1 -tags integration -timeout 90m -v $(GO_TEST_FLAGS) -- ./test/ha

.PHONY: failures
failures: images-nginx ## Let nodes fail under wallets, beside older settings and nginx, into docs/reliability.md (an hour)
	@RUN="$${RUN:-^TestFailures$$}" tools/go-test.sh -count=1 -tags integration -timeout 90m -v $(GO_TEST_FLAGS) -- ./test/failures

.PHONY: slow-nodes
slow-nodes: setup ## Let one node be slow under wallets with each way to balance, into docs/reliability.md (6 minutes)
	@RUN='^TestSlowNodes$$' tools/go-test.sh -count=1 -tags integration -timeout 30m -v $(GO_TEST_FLAGS) -- ./test/failures

.PHONY: fuzz
fuzz: ## Run every fuzz target, for FUZZ_TIME each (60s)
	@tools/fuzz.sh

.PHONY: fuzz-front
fuzz-front: setup ## Send random bodies through the front end, for FRONT_FUZZ_TIME (10m)
	@FRONT_FUZZ_TIME="$${FRONT_FUZZ_TIME:-10m}" RUN='^TestFuzz$$' tools/go-test.sh -count=1 -tags integration -timeout 0 -v $(GO_TEST_FLAGS) -- ./test/frontend

.PHONY: test-molecule
test-molecule: setup ## Run the playbook on a systemd host: converge, idempotence, verify, uninstall
	@PYTEST_ADDOPTS="$${RUN:+-k '$$RUN'}" tools/molecule.sh test

.PHONY: test-ha
test-ha: setup ## Run the playbook on three systemd hosts: a cluster, a host that dies, its replacement, uninstall
	@PYTEST_ADDOPTS="$${RUN:+-k '$$RUN'}" tools/molecule.sh test -s cluster

.PHONY: test-ha-short
test-ha-short: setup ## Three systemd hosts, and one dies: what `make test` runs of test-ha
	@tools/molecule.sh destroy -s cluster
	@tools/molecule.sh create -s cluster
	@tools/molecule.sh prepare -s cluster
	@tools/molecule.sh converge -s cluster -- -e consul_tls=true
	@PYTEST_ADDOPTS="-k 'one_cluster or served_by_all or virtual_address or host_dies'" tools/molecule.sh verify -s cluster
	@tools/molecule.sh destroy -s cluster

.PHONY: bench
bench: setup ## Measure against other ways, and write docs/performance.md (half an hour; a quiet machine)
	@RUN="$${RUN:-^TestBench(Idle)?$$}" tools/go-test.sh -count=1 -v -tags integration -timeout 90m $(GO_TEST_FLAGS) -- ./test/bench

.PHONY: bench-front
bench-front: setup ## Measure the front end beside a bare HAProxy and an older one, into docs/performance.md (9 minutes)
	@RUN='^TestBenchFrontend$$' tools/go-test.sh -count=1 -v -tags integration -timeout 30m $(GO_TEST_FLAGS) -- ./test/bench

.PHONY: attack
attack: setup ## Attack the front end and write what others notice into docs/security.md (12 minutes)
	@RUN='^TestAttack$$' tools/go-test.sh -count=1 -v -tags integration -timeout 30m $(GO_TEST_FLAGS) -- ./test/bench

.PHONY: bench-check
bench-check: build ## Measure what the health checks cost, into docs/performance.md
	@tools/go.sh run ./test/bench/checks -bin build

.PHONY: cover
cover: ## Print the unit coverage of each package, and fail if it is too low
	@tools/cover.sh

.PHONY: dist
dist: ## Build the release archives of the current commit into build/dist
	@tools/dist.sh

.PHONY: dist-check
dist-check: ## Build the release archives twice and compare them to the byte
	@tools/dist.sh --check

.PHONY: lint
lint: ## Check Go, Ansible, YAML and shell code
	@tools/lint.sh

.PHONY: clean
clean: demo-clean ## Remove what was built; the cache folder stays (see tools/lib.sh)
	@rm -rf build
