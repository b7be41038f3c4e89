#!/usr/bin/env bash
# The README's own commands in a fresh clone with nothing cached, as a new user would: both commands, then the first plugin. Takes as long as a first build
# does; the time of the first plugin is measured from when the tools are there. TRY_FRESH_TESTS=0 leaves `make test` out; TRY_FRESH_DIR=D keeps the clone in D.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${TRY_FRESH_DIR:-$(mktemp -d)}
mkdir -p "$work"
trap 'kill $(jobs -p) 2>/dev/null || true; [ -n "${TRY_FRESH_DIR:-}" ] || rm -rf "$work"' EXIT
git clone -q "$root" "$work/tidemill"
cd "$work/tidemill"
unset CARGO_TARGET_DIR TIDEMILL_URL
export XDG_CACHE_HOME="$work/cache" HOME_BEFORE="$HOME"

say() { printf '\n== %s\n' "$*"; }

say "make demo, the first time"
began=$SECONDS
DEMO_SECONDS=45 make demo
say "make demo took $((SECONDS - began)) s (at most 1,200 + 45 are promised)"
[ $((SECONDS - began)) -le 1245 ]
began=$SECONDS
DEMO_SECONDS=20 make demo | tail -5
say "make demo, the second time, took $((SECONDS - began)) s for 20 s of stream"
[ $((SECONDS - began)) -le 45 ]

if [ "${TRY_FRESH_TESTS:-1}" = 1 ]; then
  say "make test"
  make test
fi

say "the first plugin, by the README's own commands"
began=$SECONDS
awk '/^## The first plugin/ {on=1} /^## Commands/ {on=0} on && /^```sh/ {code=1; next} /^```/ {code=0} on && code' README.md >"$work/first-plugin.sh"
# The server that the commands leave running ends with their process group, and writes to a file: a pipe would wait for it.
setsid bash -euo pipefail "$work/first-plugin.sh" >"$work/out" 2>&1 &
commands=$!
wait "$commands" || { cat "$work/out"; exit 1; }
kill -- "-$commands" 2>/dev/null || true
cat "$work/out"
grep -q '"messages by channel"\|my-count' "$work/out"
say "the first plugin took $((SECONDS - began)) s (at most 300 are promised)"
[ $((SECONDS - began)) -le 300 ]
echo "the README is true"
