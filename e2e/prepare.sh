#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: Debian packages, cargo-deny, and the programs of the cluster,
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
(cd .. && cargo fetch --locked --quiet && cargo fetch --locked --quiet --manifest-path fuzz/Cargo.toml)

deny_root=$(python3 -c 'import environment; print(environment.cargo_deny_root())')
deny_version=$(python3 -c 'import environment; print(environment.CARGO_DENY_VERSION)')
if [ ! -x "$deny_root/bin/cargo-deny" ]; then
    echo "building cargo-deny $deny_version (once)"
    # Not below the checkout: its .cargo/config.toml is meant for our own program.
    (cd "$(mktemp -d)" && env -u CARGO_TARGET_DIR cargo install --quiet cargo-deny --version "$deny_version" --locked --root "$deny_root")
fi

if [ "${1:-}" != --without-cluster ]; then
    ./cluster tools >/dev/null
fi
