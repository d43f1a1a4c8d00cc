#!/usr/bin/env bash
# The tests of the real app: its window by WebDriver, on a display and with sound of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build -p voip-app -p voip-client --features voip-app/custom-protocol
target=$(scripts/target.sh)
export VOIP_APP=$target/debug/voip-app VOIP_CLI=$target/debug/voip-cli
# One after the other: a second app would hand over to the first, and sound has deadlines.
exec scripts/desktop-env.sh --private node --test --test-concurrency=1 --test-reporter=spec tests/desktop/*.test.js
