#!/usr/bin/env bash
# What `make demo` needs of the machine before it compiles. Small programs of Debian's that are missing are installed
# where that is possible; toolchains are for the person to choose.
set -euo pipefail

command -v cargo >/dev/null || { echo 'demo: cargo is missing; the demo needs a Rust toolchain (rustup.rs)' >&2; exit 1; }
command -v apt-get >/dev/null || { echo 'demo: apt-get is missing; the demo needs a Debian machine' >&2; exit 1; }

declare -A package_of=([cc]='gcc libc6-dev' [curl]=curl [dpkg]=dpkg [sha256sum]=coreutils [awk]=mawk [cmp]=diffutils)
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null || missing+=(${package_of[$program]})
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { printf 'demo: install these Debian packages first: %s\n' "${missing[*]}" >&2; exit 1; }
  printf 'demo: installing %s\n' "${missing[*]}"
  apt-get -q update >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

# Two compilers' output and one suite.
free=$(df --output=avail -k "$(dirname "$0")" | tail -n 1)
[ "$free" -gt 4000000 ] || { printf 'demo: less than 4 GB free on this file system\n' >&2; exit 1; }
