#!/usr/bin/env bash
# Everything that can be told without running the product; fails at the first thing that is not as it should be.
# Stale generated files are found by `make test`: telling takes what it builds.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    step cargo fmt --all --check
    step npm --prefix ui run check
    # The app's code is looked at as it ships: with the UI in it.
    step make --no-print-directory ui/dist/index.html
    step cargo clippy --workspace --all-targets --features voip-app/custom-protocol -- -D warnings
    # Advisories are left out: their database is a download that not every machine may make.
    step cargo deny --log-level error check licenses bans sources
}

step() {
    echo "lint: $*"
    "$@"
}

main
