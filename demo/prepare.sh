#!/usr/bin/env bash
# What `make demo` needs of the machine before it compiles: says what is missing, installs nothing.
set -euo pipefail

missing=()
for tool in cargo apt-get apt-cache dpkg curl sha256sum base64 awk cmp; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
  printf 'demo: missing: %s; the demo needs a Debian machine with a Rust toolchain (rustup.rs) and curl\n' "${missing[*]}" >&2
  exit 1
fi
# Two compilers' output and one suite.
free=$(df --output=avail -k "$(dirname "$0")" | tail -n 1)
[ "$free" -gt 4000000 ] || { printf 'demo: less than 4 GB free on this file system\n' >&2; exit 1; }
