# Two commands for a newcomer: `make demo` and `make test`. Each does its own set-up.

HOST_TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
BIN := $(CARGO_TARGET_DIR)/$(HOST_TARGET)/release/mirrorfleet

SECONDS ?= 60

.PHONY: archives bench fuzz long docs help build demo test unit acceptance soak e2e cluster cluster-down image crds fmt lint clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## The one binary, static
	cargo build --release --locked --bin mirrorfleet

demo: ## Mirror a real Debian suite on this machine and install from it (KEEP=1 stays up)
	@demo/prepare.sh
	@$(MAKE) --no-print-directory build
	@MIRRORFLEET_BIN=$(BIN) KEEP=$(KEEP) demo/demo.sh

test: ## Everything: formatting, lints, licences, unit and property tests, the real cluster
	@e2e/prepare.sh
	@python3 e2e/run.py all

unit: ## Without the cluster
	@e2e/prepare.sh --without-cluster
	@python3 e2e/run.py unit

acceptance: ## Real apt and an independent checker, without the cluster (ONLY=name tells one story)
	@e2e/prepare.sh --without-cluster
	@$(MAKE) --no-print-directory build
	@MIRRORFLEET_BIN=$(BIN) PYTHONPATH=e2e python3 -m acceptance $(ONLY)

soak: ## Thirty apts and 200 publishes, eight pacmans and 100, killed syncs; then all faults on four nodes: 45 minutes in which nobody may notice
	@e2e/prepare.sh
	@$(MAKE) --no-print-directory build
	@MIRRORFLEET_BIN=$(BIN) PYTHONPATH=e2e python3 -m soak
	@MIRRORFLEET_BIN=$(BIN) PYTHONPATH=e2e python3 -m soak.pacmans
	@MIRRORFLEET_BIN=$(BIN) python3 e2e/run.py scenarios fault-list

long: ## What takes too long for each change: five rounds of the tests, the whole soak, a fleet at size, each parser for a minute
	@e2e/prepare.sh
	@python3 e2e/run.py long

e2e: ## Only the scenarios on the real cluster (ONLY=name runs one)
	@e2e/prepare.sh
	@$(MAKE) --no-print-directory build
	@MIRRORFLEET_BIN=$(BIN) python3 e2e/run.py scenarios $(ONLY)

cluster: ## Start a real two-node cluster on this machine and print its kubeconfig
	@e2e/prepare.sh
	@e2e/cluster up

cluster-down: ## Stop it and remove all that it left
	@e2e/cluster down

image: build ## The container image, FROM scratch, as an archive in target/
	@e2e/cluster packages
	@MIRRORFLEET_BIN=$(BIN) e2e/build-image.sh $(CARGO_TARGET_DIR)/mirrorfleet-image.tar

bench: ## Speed beside other tools; writes docs/benchmarks.md (ONLY=name for one row, QUICK=1 for a first look)
	@$(MAKE) --no-print-directory build
	@cargo build --release --locked --quiet --workspace --example switch --example verification
	@MIRRORFLEET_BIN=$(BIN) python3 bench/run.py $(ONLY) $(if $(QUICK),--quick)

archives: ## The files of a release, for krew too: TAG=v0.1.0 PROGRAMS="linux-amd64=PATH linux-arm64=PATH"; into target/release-files
	@release/archives.py "$(TAG)" $(CARGO_TARGET_DIR)/release-files $(PROGRAMS)

fuzz: ## Every parser against made-up input, each for SECONDS=60 (ONLY=name runs one)
	@e2e/prepare.sh --without-cluster
	@fuzz/run.py --seconds $(SECONDS) $(ONLY)

crds: ## Write crds/, the charts' copies and docs/api.md anew from the Rust types
	@MIRRORFLEET_BLESS=1 cargo test --release --locked --workspace --config e2e/as-tested.toml --test crds
	@charts/copy-crds.sh
	@charts/reference.py
	@python3 -m pages

docs: ## Write the reference pages anew from the code; build docs/ as a book in target/book where mdbook is installed
	@MIRRORFLEET_BLESS=1 cargo test --release --locked --workspace --config e2e/as-tested.toml --test it --bins reference
	@python3 -m monitoring
	@python3 -m pages
	@charts/reference.py
	@if command -v mdbook >/dev/null; then mdbook build docs; else echo "no mdbook here, so no book: cargo install mdbook"; fi

fmt: ## Format
	cargo fmt --all

lint: ## Formatting and lints, as `make test` checks them
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings

clean: ## Remove what was built here
	rm -rf target e2e/.work demo/.work bench/.work
