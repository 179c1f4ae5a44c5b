# K2. The two commands of the README are `make demo` and `make test`; the rest is for who works on it.
#
# One build of the dependencies serves demo, test and lint: cargo resolves features over the packages that are selected,
# so all three select the whole workspace. The shipped binary selects k2-cli alone: the workspace's features include the
# named points at which the tests kill the process.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The target folder is the user's, not the checkout's: a second clone builds warm.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/k2
export CARGO_TARGET_DIR ?= $(CACHE)/target
K2 = $(CARGO_TARGET_DIR)/debug/k2
export PATH := $(PATH):$(HOME)/.cargo/bin

# cargo options, such as --offline, and arguments of the demo or of the test binaries
CARGO_FLAGS ?= --locked
ARGS ?=

SERVICES := kafka s3 rest-catalog postgres registry

.PHONY: help
help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build-tools ## everything in one: a broker, trades, k2 killed on the way, the proof (ARGS="--seconds 30")
	@cargo build $(CARGO_FLAGS) --workspace --bin k2
	@$(K2) demo $(ARGS)

.PHONY: test
test: test-tools ## all tests, on real servers that it fetches and starts itself (ARGS="name of a test")
	cargo build $(CARGO_FLAGS) --workspace --bin k2
	cargo test $(CARGO_FLAGS) --workspace --no-run
	tests/services/with $(SERVICES) -- cargo test $(CARGO_FLAGS) --workspace --no-fail-fast $(ARGS)

.PHONY: lint
lint: build-tools ## formatting, clippy and the documentation, warnings denied
	cargo fmt --all --check
	tests/unused-dependencies
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps --document-private-items

.PHONY: build
build: build-tools ## the binary as it is shipped: optimised, in the release folder of the target folder
	cargo build $(CARGO_FLAGS) -p k2-cli --release
	@echo "built $(CARGO_TARGET_DIR)/release/k2"

.PHONY: bench
bench: test-tools build ## speed and size of the shipped binary: drain, first row, steady, idle (ARGS="--rounds 5")
	@tests/services/with kafka -- benches/figures $(CARGO_TARGET_DIR)/release/k2 $(ARGS)

# Coverage for libFuzzer: what cargo-fuzz asks of a nightly compiler, by flags that the stable one takes.
COVERAGE = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
FUZZ = $(CARGO_TARGET_DIR)/fuzz
SECONDS ?= 60

.PHONY: fuzz
fuzz: build-tools ## coverage-guided fuzzing of the Avro decoder, stable compiler (SECONDS=600)
	host="$$(rustc -vV | sed -n 's/^host: //p')" && \
	RUSTFLAGS="$(COVERAGE)" cargo build $(CARGO_FLAGS) --release --manifest-path crates/avro/fuzz/Cargo.toml \
		--target "$$host" --target-dir $(FUZZ) && \
	mkdir -p $(FUZZ)/corpus $(FUZZ)/failures && \
	"$(FUZZ)/$$host/release/k2-avro-fuzz" -max_total_time=$(SECONDS) -max_len=1024 -timeout=10 -rss_limit_mb=1024 \
		-malloc_limit_mb=64 -print_final_stats=1 -artifact_prefix=$(FUZZ)/failures/ $(FUZZ)/corpus crates/avro/fuzz/corpus \
		2>&1 | grep -vE '^#[0-9]+\s+(NEW|REDUCE|RELOAD)|NEW_FUNC|# Uses:|[Rr]ecommended dictionary'

.PHONY: clean
clean: ## drops what was built (the downloads of the test services stay)
	cargo clean

.PHONY: build-tools test-tools
build-tools:
	@tests/services/install build
test-tools:
	@tests/services/install test
