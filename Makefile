# Every target does its own set-up. PICTOR_CACHE=DIR keeps what set-up fetches and builds outside this checkout.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: setup build demo test verify bench lint golden clean

setup:
	@scripts/setup.sh

build: setup
	$(CARGO) build --release --locked --workspace

# Builds, starts a server on loopback, indexes the emoji, runs 23 searches, six of them composed, and checks their answers.
demo: build
	@scripts/demo.sh

# Everything, with short fault runs; the walk through the page only with PICTOR_BROWSER=1.
test: setup
	$(CARGO) test --release --locked --workspace
	@scripts/browser.sh

# Full fault counts, the long model test and a walk through the page in a browser; up to two hours.
verify: setup
	PICTOR_VERIFY=1 $(CARGO) test --release --locked --workspace -- --test-threads=2
	@PICTOR_VERIFY=1 scripts/browser.sh

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

# Speed, beside the peers; never gates. Raw numbers go to benches/results/.
bench: build
	@benches/run.sh

# Computes the golden values again with the reference implementations.
golden: setup
	@scripts/golden.sh

clean:
	rm -rf target .deps .cargo/config.toml
