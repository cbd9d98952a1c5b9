# `make` lists what one can do. What a target needs is installed by `make setup`, outside the clone.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Build outputs stay out of the clone: copying, searching and watching it stays quick.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/cogo/target
# Where .ci/setup puts the tools that are not the system's.
TOOLS := $(HOME)/.cache/cogo/tools
export PATH := $(TOOLS)/bin:$(HOME)/.cargo/bin:$(PATH)
# Where .ci/setup puts what edge functions import; Deno is told to fetch nothing.
export DENO_DIR := $(HOME)/.cache/cogo/deno
export DENO_NO_UPDATE_CHECK := 1

ADVISORIES := https://github.com/rustsec/advisory-db
MIGRATIONS := $(wildcard migrations/*.sql)

.PHONY: help setup demo dev rollouts check fmt types test test-postgres test-k8s test-docker chaos bench release

help: ## list what one can do
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing to build and test (asks sudo only when something is)
	@.ci/setup

# A debug build: what it runs mostly waits, and an optimised one takes much longer from nothing.
demo: ## see it work: an intent on its way to tested code, on a Postgres of its own
	@.ci/setup run
	@cargo run --package local --bin cogo -- demo

dev: ## the same stack, to stay: Postgres, what stands in for Supabase, every worker, until Ctrl-C
	@.ci/setup run
	@cargo run --package local --bin cogo -- dev

rollouts: ## see a tag become what runs and a bad one go back, with a registry of images and a simulated cluster
	@.ci/setup run
	@cargo run --package local --bin cogo -- demo --rollouts

check: ## formatting, lints, dependency rules, migrations, edge functions: all that needs no test run
	cargo fmt --all --check
	RUST_LOG=warn taplo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo deny --log-level error check bans licenses sources
	@$(MAKE) --no-print-directory check-advisories
	$(if $(MIGRATIONS),squawk $(MIGRATIONS),@echo 'check: no migrations yet')
	cd edge-functions && deno task --quiet check

.PHONY: check-advisories
check-advisories:
	@if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code $(ADVISORIES) HEAD >/dev/null 2>&1; then \
		cargo deny --log-level error check advisories; \
	else \
		echo 'check: SECURITY ADVISORIES NOT CHECKED: $(ADVISORIES) cannot be reached from here'; \
	fi

fmt: ## format Rust, TOML and TypeScript in place
	cargo fmt --all
	RUST_LOG=warn taplo fmt
	cd edge-functions && deno fmt --quiet . ../supabase/examples

types: setup ## write supabase/database.types.ts anew, from the schema that the migrations make
	COGO_WRITE_TYPES=1 cargo test --quiet --package stories --test database_types

# The runner comes last, so that its summary is the last thing one reads; only the Postgres that the
# tests share is stopped after it.
test: setup check ## everything CI runs: setup, check, all tests
	cd edge-functions && deno task --quiet test
	cargo test --workspace --doc --quiet
	@trap 'cargo run --quiet --package testkit -- stop' EXIT; \
	if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace; \
	else \
		echo 'test: cargo-nextest is not installed, so cargo test runs instead'; \
		cargo test --workspace --all-targets; \
	fi

# Only what is said on the command line: a KUBECONFIG in the environment may lead to somebody's real cluster.
test-k8s: ## what leans on Kubernetes, against a real API server built from Debian's source, or KUBECONFIG=file
	@.ci/kubernetes $(if $(filter command line,$(origin KUBECONFIG)),'$(KUBECONFIG)')

PG ?= 17
# All that runs SQL, and the fleet's story in its short form.
SUITES := db bus registry worker bus-keeper
test-postgres: setup ## what touches the database, on another Postgres: make test-postgres PG=15|16|17
	@bin=$$(VERSION=$(PG) .ci/postgres); export COGO_PG_BIN=$$bin; \
	trap 'cargo run --quiet --package testkit -- stop' EXIT; \
	echo "test-postgres: $$($$bin/postgres --version)"; \
	if cargo nextest --version >/dev/null 2>&1; then run='nextest run'; else run=test; fi; \
	cargo $$run $(SUITES:%=--package %); \
	cargo $$run --package stories --test surviving_chaos nothing_is_lost

SEEDS ?= 20
MESSAGES ?= 10000
VIA ?= direct
chaos: ## kill workers and Postgres under load, then judge the history: make chaos SEEDS=n MESSAGES=n VIA=direct|supabase|poll
	cargo run --release --package stories --bin chaos -- --seeds $(SEEDS) --messages $(MESSAGES) --via $(VIA)

bench: ## measure the bus on a throwaway Postgres, next to the limits of this machine
	cargo run --release --package local --bin cogo -- bench bus

# The script reads VERSION, PUSH, REGISTRY and ORG, and says what is wrong with them.
export VERSION PUSH REGISTRY ORG
release: ## build the images of all workers: make release VERSION=v1.2.3 [PUSH=true] [REGISTRY=ghcr.io] [ORG=my-org]
	@.ci/release

release-%:
	@.ci/release $*

test-docker: ## build the images, run and push and search them, on an engine and a registry of its own
	@.ci/docker
