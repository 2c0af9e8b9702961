# What a developer runs by hand is what CI runs; there is no second definition.

.PHONY: demo check test deny semver fuzz-smoke bench bench-smoke measure package package-test

demo: # a server and a client on this machine: the newcomer's first command
	cargo run --release --locked -- demo

check: # format, lints, documentation
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

test: # all tests; those whose programs are not installed are skipped, but not where CI is set
	.ci/test

# A debug build of cargo-deny is there in two minutes and needs two seconds for its work.
deny: # licences, origin and duplicates of dependencies, and known holes where the list can be had
	cargo deny --version 2>/dev/null || cargo install --locked --debug cargo-deny@0.20.2
	cargo deny --locked check --hide-inclusion-graph licenses bans sources
	if cargo deny fetch db; then cargo deny --locked check --disable-fetch advisories; \
	else echo "advisories: NOT CHECKED, their database can't be reached"; fi

# What is compared with: the last release, unless another revision is named.
BASE ?= $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null)

semver: # whether the version says what has changed for those who embed the crates; its tool takes long to build
	@test -n "$(BASE)" || { echo "semver: no release is tagged yet: name a revision, make semver BASE=REVISION" >&2; exit 2; }
	cargo semver-checks --version 2>/dev/null || cargo install --locked --debug cargo-semver-checks@0.51.0
	cargo semver-checks --baseline-rev $(BASE) --package audiostreamer-core --package audiostreamer

FUZZ_SECONDS ?= 20

fuzz-smoke: # each fuzz target for FUZZ_SECONDS; what it finds lands in fuzz/artifacts
	cargo fuzz --version 2>/dev/null || cargo install --locked cargo-fuzz
	cd fuzz && for target in $$(cargo fuzz list); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target $$(mktemp -d) corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

measure: # tests that take minutes and print figures, one after the other; on a quiet machine
	cargo test --release --locked --package audiostreamer --test restarts --test paths --test flood -- \
		--ignored --nocapture --test-threads 1
	cargo test --release --locked --package audiostreamer-core --test sim -- --ignored --nocapture

bench: # beside other programs of the kind, in half an hour: see bench/README.md
	cargo build --release --locked --workspace
	cargo run --release --locked --package audiostreamer-bench -- all

# Sound or none, in half a minute; no figure is judged. Without real-time priority a busy machine may
# let nothing through, and that is nobody's fault.
bench-smoke: # whether the bench runs, and hears ours and zita-njbridge
	cargo build --locked --workspace
	if chrt --fifo 10 true 2>/dev/null; then \
		for try in 1 2; do \
			cargo run --locked --package audiostreamer-bench -- smoke --binary target/debug/audiostreamer \
				--seconds 3 --attempts 1 --results target/bench && exit; \
		done; exit 1; \
	else echo "bench: NOT RUN, there is no real-time priority here"; fi

package: # the Debian package, in target/debian
	packaging/build

package-test: # installs, uses and removes it in a clean chroot; needs root and Debian's mirror
	BOOT=1 packaging/test
