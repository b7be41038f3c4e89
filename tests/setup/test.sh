#!/usr/bin/env bash
# Every test, one broker for the whole run. Called by `make test` after set-up and build.
set -euo pipefail
cd "$(dirname "$0")/../.."
failed=0

# part NAME COMMAND...: runs a part, goes on after a failure, and remembers it.
part() {
  local name=$1; shift
  printf '\n== %s\n' "$name"
  "$@" || { printf '== FAILED: %s\n' "$name"; failed=1; }
}

part "tests of the workspace" cargo test -q --workspace --no-fail-fast
part "tests of the plugins" cargo test -q --manifest-path plugins/Cargo.toml --no-fail-fast
[ "$failed" = 0 ] && echo "every test passed" || echo "some tests failed"
exit "$failed"
