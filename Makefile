# Two commands do everything on a fresh machine: `make demo` and `make test`. Both install what they need first.
SHELL := /bin/bash
CARGO ?= cargo
TIDEMILL = $(or $(CARGO_TARGET_DIR),target)/debug/tidemill

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what builds need (compilers, guest toolchain); quick when done
	@tests/setup/setup.sh build

.PHONY: setup-test
setup-test: ## the same and what tests need (Kafka, foreign readers of the lake, guest languages)
	@tests/setup/setup.sh build test

.PHONY: build
build: setup ## the tidemill binary and the plugins
	@$(CARGO) build -q --workspace --bins
	@$(TIDEMILL) plugin build-all plugins

.PHONY: demo
demo: build ## the whole platform on the embedded defaults with a live sample stream; Ctrl-C ends it
	@$(TIDEMILL) demo --project .

.PHONY: test
test: setup-test build ## every test
	@tests/setup/test.sh

.PHONY: test-long
test-long: setup-test build ## every test, with the long figures
	@TIDEMILL_TEST_LONG=1 tests/setup/test.sh

.PHONY: fuzz
fuzz: setup ## the fuzz targets guided by coverage, FUZZ_SECONDS each (60), or one: make fuzz FUZZ=name
	@tests/fuzz/guided/run.sh $(FUZZ)

.PHONY: lint
lint: setup ## formatting, lints and docs
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy -q --workspace --all-targets
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc -q --workspace --no-deps

.PHONY: bench
bench: setup-test build ## every benchmark, or one: make bench BENCH=name
	@for guest in benches/guests/*/; do $(TIDEMILL) plugin build "$$guest" >/dev/null || exit; done
	@TIDEMILL_BIN=$(TIDEMILL) $(TIDEMILL)-benches $(BENCH)

.PHONY: try-fresh
try-fresh: ## the README's own commands in a fresh clone with nothing cached, as a new user would
	@tests/setup/try-fresh.sh
