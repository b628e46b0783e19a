# The targets that people use. `make` alone lists them.

CARGO ?= cargo
RELEASE := target/release/caracal
export CARACAL ?= $(CURDIR)/$(RELEASE)

.PHONY: help packages test-packages build test demo lint bench bench-nftables bench-wire bench-control fuzz soak

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

packages:
	@scripts/install-packages

build: packages ## build the program: target/release/caracal
	$(CARGO) build --release --locked -p caracal-agent

demo: build ## pods on this machine, policy live on the wire; leaves nothing behind (root)
	@$(CARGO) build --release --locked --quiet -p caracal-fv-tests --bin demo
	@target/release/demo

test-packages:
	@scripts/install-test-packages

test: build lint test-packages ## everything: lints, unit tests, kernel tests, outside yardsticks, packets (root)
	$(CARGO) test --workspace --locked --no-fail-fast
	scripts/guest 6.1

lint: packages ## format, clippy, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

bench: bench-control bench-nftables bench-wire ## all benchmarks, one JSON line a figure

bench-control: packages ## the calculation graph
	$(CARGO) bench --locked --quiet -p caracal-calc-graph --bench control

bench-nftables: packages ## kernel changes against a hand-written floor, and packets (root)
	$(CARGO) bench --locked --quiet -p caracal-nftables --bench nftables
	$(CARGO) bench --locked --quiet -p caracal-nftables --bench heal
	$(CARGO) bench --locked --quiet -p caracal-nftables --bench idle -- L
	$(CARGO) bench --locked --quiet -p caracal-nftables --bench packets

bench-wire: build ## file write to changed verdict on the wire (root)
	@$(CARGO) build --release --locked --quiet -p caracal-fv-tests --bin bench-wire
	@target/release/bench-wire

fuzz: ## run each fuzz target for a minute; installs cargo-fuzz and a nightly toolchain
	scripts/fuzz

soak: build test-packages ## random histories and proposed edits, thirty times those of make test, a million packets through random programs and live edits, another kernel (root)
	CARACAL_SOAK=30 $(CARGO) test --release --locked -p caracal-calc-graph --test graph -- histories
	CARACAL_SOAK=30 $(CARGO) test --release --locked -p caracal-agent --lib -- explain::tests::edits
	CARACAL_DIFFERENTIAL=1000000 CARACAL_DIFFERENTIAL_SEED=fresh $(CARGO) test --release --locked -p caracal-nftables --lib -- differential
	CARACAL_LIVE_EDIT=1000000 $(CARGO) test --release --locked -p caracal-nftables --lib -- live_edit
	CARACAL_SOAK=5 $(CARGO) test --release --locked -p caracal-fv-tests --test start
	scripts/guest 6.12
