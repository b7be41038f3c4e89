#!/usr/bin/env bash
# Runs the fuzz targets under libFuzzer: all, or those that are named, FUZZ_SECONDS each (60), FUZZ_JOBS of them at a time (1). Begins with
# ../corpus/NAME, keeps what reaches more in corpus/NAME, and ends with 1 where one finds something. Usage: run.sh [NAME...]
set -euo pipefail
cd "$(dirname "$0")"
export FUZZ_SECONDS=${FUZZ_SECONDS:-60}
# The sanitizer is behind a flag of the nightly compiler: this lets the one that builds everything else take it.
export RUSTC_BOOTSTRAP=1
# librdkafka's configure links what it tries with the sanitized zstd.
export LDFLAGS=-fsanitize=address

say() { printf 'fuzz: %s\n' "$*" >&2; }

install_cargo_fuzz() {
  command -v cargo-fuzz >/dev/null && return
  say "installing cargo-fuzz"
  cargo install -q cargo-fuzz --locked
}

# The longest input in bytes: several of the corpus; of a stream, more than a frame may have.
length_max() {
  case $1 in
    uri | matcher) echo 512 ;;
    framing) echo 20480 ;;
    log) echo 8192 ;;
    *) echo 4096 ;;
  esac
}

# What the process may hold: what one input may (../src/memory.rs), the corpus, and what the sanitizer keeps of freed memory.
memory_mb_max() { if [ "$1" = log ]; then echo 2560; else echo 1024; fi; }

# What libFuzzer says of coverage after the corpus and at the end: edges, and features (edges by how often they were taken).
coverage() { grep -E 'INITED|DONE' "$1" | grep -o 'cov: [0-9]* ft: [0-9]*'; }

fuzz() {
  local name=$1 log="artifacts/$1.log"
  mkdir -p "corpus/$name" "artifacts/$name"
  # Leaks are not looked for: threads keep what they reuse, and memory without bound is found by its limits.
  if cargo fuzz run --fuzz-dir . --sanitizer address "$name" "corpus/$name" "../corpus/$name" -- -max_total_time="$FUZZ_SECONDS" -timeout=30 \
    -max_len="$(length_max "$name")" -rss_limit_mb="$(memory_mb_max "$name")" -report_slow_units=30 -detect_leaks=0 >"$log" 2>&1; then
    printf '%s: %s; %s at first, %s at last\n' "$name" "$(grep '^Done ' "$log")" "$(coverage "$log" | head -1)" "$(coverage "$log" | tail -1)"
  else
    say "$name found something (artifacts/$name.log has all of it)"
    grep -A 3 -E 'panicked at|ERROR: |^error' "$log" | head -20 || tail -20 "$log"
    sed -n "s#.*Test unit written to \./#$name: the input is tests/fuzz/guided/#p" "$log"
    return 1
  fi
}

install_cargo_fuzz
say "building (the first time takes half an hour of one core)"
cargo fuzz build --fuzz-dir . --sanitizer address
names=${*:-$(cargo fuzz list --fuzz-dir .)}
export -f fuzz say length_max memory_mb_max coverage
# shellcheck disable=SC2086,SC2016
printf '%s\n' $names | xargs -P "${FUZZ_JOBS:-1}" -I NAME bash -euo pipefail -c 'fuzz "$1"' fuzz NAME || exit 1
