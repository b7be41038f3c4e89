#!/usr/bin/env bash
# Every test, with one broker for the whole run. Called by `make test` after set-up and build.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin="$PWD/${CARGO_TARGET_DIR:-target}/debug"
case "${CARGO_TARGET_DIR:-}" in /*) bin="$CARGO_TARGET_DIR/debug" ;; esac
export TIDEMILL_BIN="$bin/tidemill"
failed=0

# Starts the broker that all tests share; it ends when its input closes, which is when this script ends.
start_broker() {
  command -v java >/dev/null || { echo "SKIPPED the tests on Kafka: java is not installed"; return 0; }
  local address
  coproc BROKER { exec "$bin/kafka-broker" 2>target/kafka-broker.log; }
  if read -r -t 120 address <&"${BROKER[0]}"; then
    export TIDEMILL_TEST_KAFKA=$address
  else
    echo "the shared broker did not start (target/kafka-broker.log says why): tests start their own"
  fi
}

# part NAME COMMAND...: runs a part, goes on after a failure, and remembers it.
part() {
  local name=$1 began=$SECONDS; shift
  printf '\n== %s\n' "$name"
  if "$@"; then printf '== %s: %s s\n' "$name" $((SECONDS - began)); else printf '== FAILED: %s\n' "$name"; failed=1; fi
}

# Test runners hide what passing tests print, so what cannot be had is said here, by name.
skipped() { printf 'SKIPPED %s\n' "$*"; }
[ -d ../shared/data ] || skipped "tests on the recorded pings and schemas of ../shared/data: the folder is missing"
[ -x .deps/venv/bin/python ] || skipped "foreign readers of the lake and the Python and C guests: .deps/venv is missing"
[ -d .deps/json-schema-suite ] || skipped "the official JSON-Schema-Test-Suite: .deps/json-schema-suite is missing"
[ -d .deps/node/node_modules ] || skipped "the JavaScript guest: .deps/node is missing"
command -v go >/dev/null || skipped "the Go guest: go is not installed"
[ -n "${TIDEMILL_TEST_LONG:-}" ] || skipped "the long figures (faults on Kafka, 500 crash runs, a million documents, 32 million ids): they are part of make test-long"
[ -n "${TIDEMILL_BIN_BEFORE:-}" ] || skipped "upgrades from another program: TIDEMILL_BIN_BEFORE names none, the same program replaces itself"
skipped "the soak: it runs by hand (docs/reliability.md)"

mkdir -p target
part "formatting" cargo fmt --all --check
part "building the tests" cargo test -q --workspace --no-run
start_broker
# These mostly wait, for sessions that end and brokers that come back: they run beside the others.
waiting=(two_hosts an_outage_with_the_host_killed_in_it_and_in_the_drain a_frozen_broker)
upgrades=(rolling_upgrade upgrade_in_place)
beside() {
  local result=0
  cargo test -q --workspace --no-fail-fast --test kafka || result=1
  cargo test -q --workspace --no-fail-fast --test two_hosts --test spool -- --exact "${waiting[@]}" || result=1
  cargo test -q --workspace --no-fail-fast --test crash_runs || result=1
  return "$result"
}
beside >target/beside.log 2>&1 &
others=$!
cargo test -q --workspace --no-fail-fast --test upgrade >target/upgrade.log 2>&1 &
upgrade=$!
part "tests of the workspace" cargo test -q --workspace --no-fail-fast -- --skip on_kafka:: --skip crash_runs_ --skip kill_embedded --skip kill_kafka "${waiting[@]/#/--skip=}" "${upgrades[@]/#/--skip=}"
part "tests beside them: the bus on Kafka, crash_runs, ${waiting[*]}" wait "$others"
cat target/beside.log
part "tests beside them: ${upgrades[*]}" wait "$upgrade"
cat target/upgrade.log
# The promise is for a host that has the machine to itself.
part "the host killed at 2,000 pings/s" cargo test -q --workspace --no-fail-fast --test kill
part "tests of the plugins" cargo test -q --manifest-path plugins/Cargo.toml --no-fail-fast
part "schemas against recorded pings" "$TIDEMILL_BIN" schema check tests/fixtures
if [ "$failed" = 0 ]; then echo "every test passed"; else echo "some tests failed"; fi
exit "$failed"
