#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: Debian packages, cargo's tools, and the programs of the cluster,
# built once from pinned sources into a cache outside the checkout.
set -euo pipefail
cd "$(dirname "$0")"

for program in cargo rustc go; do
    command -v "$program" >/dev/null || { echo "make test needs $program on PATH (the Rust and Go toolchains)" >&2; exit 1; }
done
if ! command -v python3 >/dev/null; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3
fi

./cluster packages

# Of all platforms: cargo-deny judges the whole lock file, and asks no registry itself.
(cd .. && cargo fetch --locked --quiet && cargo fetch --locked --quiet --manifest-path fuzz/Cargo.toml && cargo fetch --locked --quiet --manifest-path oracle/Cargo.toml)

./cargo-tools.py

if [ "${1:-}" != --without-cluster ]; then
    ./cluster tools >/dev/null
fi
