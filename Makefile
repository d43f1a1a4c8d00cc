SHELL := bash
.DEFAULT_GOAL := help
# Tools that cargo installs are found even where the shell's own PATH lacks its folder.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# The app with the UI in it, as it ships; without the feature its window asks a development server.
APP := --features voip-app/custom-protocol
# What the UI is built from. It is built when one of these is newer: a new UI means a new app.
UI := $(shell find ui/src ui/index.html ui/package-lock.json ui/*.config.* icons -type f)

.PHONY: help setup run test demo lint bench bench-voice quality release

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Installs what is missing: Debian packages, npm packages, cargo tools
	@scripts/setup.sh all

run: ## Builds the app and opens it; without display or sound card, on virtual ones
	@scripts/setup.sh run
	@$(MAKE) --no-print-directory ui/dist/index.html
	cargo build -p voip-app --features custom-protocol
	scripts/desktop-env.sh cargo run -p voip-app --features custom-protocol

test: ## All tests: Rust, UI, and the real app
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory ui/dist/index.html
	cargo test --workspace $(APP)
	npm --prefix ui test
	tests/desktop/run.sh

ui/dist/index.html: $(UI)
	npm --prefix ui run build

demo: ## Two clients talk through a server of their own; prints what was heard as JSON
	@scripts/setup.sh demo >&2
	@cargo build -p voip-client -p voip-tests --bins >&2
	@cargo run -q -p voip-tests --bin demo

lint: ## Format, clippy, svelte-check, licences and bans
	@scripts/setup.sh lint
	scripts/lint.sh

quality: ## How speech sounds over bad networks, in virtual time, judged by PESQ and STOI; QUALITY has its arguments
	@scripts/setup.sh quality
	@cargo build --release --quiet -p voip-tests --bin quality
	@QUALITY_PYTHON="$${XDG_CACHE_HOME:-$$HOME/.cache}/voip/quality/bin/python3" \
		"$$(scripts/target.sh)"/release/quality $(QUALITY)

bench-voice: ## The voice plane beside Mumble's server and a bare loop; MUMBLE_PEER names the script that starts it
	@scripts/setup.sh bench
	@cargo build --release --quiet -p voip-server --bin voip-server -p voip-tests --bin voip-load --bin bench-voice
	@"$$(scripts/target.sh)"/release/bench-voice $(BENCH_VOICE)

bench: ## The benchmarks, each with what was promised; and the server killed twenty times under load
	@scripts/setup.sh bench
	@set -e; for folder in $(wildcard */benches); do cargo bench -p voip-$${folder%/benches} --benches; done
	CRASH_ROUNDS=20 cargo test -p voip-tests --test crash kill_9 -- --nocapture

release: ## The app as a .deb, the server and the command-line client as programs
	@scripts/setup.sh run
	CI=true ui/node_modules/.bin/tauri build --bundles deb
	cargo build --release -p voip-server -p voip-client
	@scripts/target.sh | sed 's|$$|/release|' | xargs -I{} find {} -maxdepth 4 \( -name '*.deb' -o -name voip-server -o -name voip-cli \) -type f
