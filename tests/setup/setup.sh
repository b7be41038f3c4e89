#!/usr/bin/env bash
# Installs what the project needs on a Debian machine that has Rust, Java, Maven, Node.js and Python: says what it does, and is quick and
# silent where it was done before. Usage: setup.sh build [test]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
deps="$root/.deps"
mkdir -p "$deps"
exec 9>"$deps/lock"
flock 9

say() { printf 'setup: %s\n' "$*" >&2; }

# run WHAT COMMAND...: runs quietly, shows the log when it fails.
run() {
  local what=$1; shift
  say "$what"
  "$@" >"$deps/log" 2>&1 || { cat "$deps/log" >&2; say "failed: $what"; exit 1; }
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# packages NAME...: installs the Debian packages that are missing.
packages() {
  local missing=()
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  run "updating the list of Debian packages" as_root apt-get update
  run "installing Debian packages: ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# once NAME INPUT COMMAND...: runs the command unless it was run before with the same input.
once() {
  local stamp="$deps/$1.done" input=$2; shift 2
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$input" ] && return
  "$@"
  printf '%s' "$input" >"$stamp"
}

build_tools() {
  command -v cargo >/dev/null || { say "cargo is not installed: install Rust by rustup first"; exit 3; }
  packages build-essential cmake pkg-config zlib1g-dev
  [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ] || guest_toolchain
}

# The guest target: rustup's own where it can be had, else Debian's compiler, which carries the library's sources.
guest_toolchain() {
  if command -v rustup >/dev/null && timeout 60 rustup target add wasm32-unknown-unknown >/dev/null 2>&1; then
    say "added the target wasm32-unknown-unknown by rustup"
  else
    packages rustc-web rust-web-src cargo-web lld-22
  fi
}

test_tools() {
  packages curl wrk
  for tool in java mvn python3 node npm; do
    command -v "$tool" >/dev/null || say "$tool is missing: the tests that need it are skipped by name"
  done
  if command -v mvn >/dev/null; then once kafka "$(cat "$root/tests/kafka/pom.xml")" kafka; fi
  if command -v python3 >/dev/null; then once python "$(cat "$root/tests/setup/requirements.txt")" python_packages; fi
  if command -v python3 >/dev/null; then once json-schema-suite "$json_schema_suite" json_schema_suite; fi
  if command -v npm >/dev/null; then once node "$(cat "$root/tests/setup/package-lock.json")" node_packages; fi
}

kafka() {
  run "fetching Apache Kafka" mvn -q -B -f "$root/tests/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$deps/kafka/libs"
}

python_packages() {
  run "making a Python environment" python3 -m venv "$deps/venv"
  run "installing Python packages" "$deps/venv/bin/pip" install -q -r "$root/tests/setup/requirements.txt"
}

# The official JSON-Schema-Test-Suite, which the source distribution of this package carries.
json_schema_suite="jsonschema==4.25.1"

json_schema_suite() {
  local folder="$deps/json-schema-suite"
  rm -rf "$folder"
  mkdir -p "$folder"
  run "fetching the JSON-Schema-Test-Suite" "$deps/venv/bin/pip" download -q --no-binary :all: --no-deps -d "$folder" "$json_schema_suite"
  run "unpacking the JSON-Schema-Test-Suite" tar -xzf "$folder/${json_schema_suite/==/-}.tar.gz" -C "$folder" --strip-components=2 --wildcards '*/json/tests/*' '*/json/LICENSE'
  rm "$folder"/*.tar.gz
}

node_packages() {
  mkdir -p "$deps/node"
  cp "$root/tests/setup/package.json" "$root/tests/setup/package-lock.json" "$deps/node/"
  run "installing npm packages" npm install --prefix "$deps/node" --no-audit --no-fund
}

for part in "$@"; do
  case $part in
    build) build_tools ;;
    test) test_tools ;;
    *) say "no such part: $part"; exit 2 ;;
  esac
done
