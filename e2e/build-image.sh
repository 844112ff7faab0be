#!/usr/bin/env bash
# Builds the container image from the repository's Dockerfile: build-image.sh ARCHIVE [IMAGE]
# The binary is the one that `make build` and the tests made. With WITH_RSYNC=0 the image does without rsync, and rsync://
# endpoints are refused.
set -euo pipefail
archive=${1:?usage: build-image.sh ARCHIVE [IMAGE]}
image=${2:-localhost/mirrorfleet:latest}
top=$(cd "$(dirname "$0")/.." && pwd)
target=$(rustc -vV | sed -n 's/^host: //p')
binary=${MIRRORFLEET_BIN:-${CARGO_TARGET_DIR:-$top/target}/$target/release/mirrorfleet}
[ -x "$binary" ] || (cd "$top" && cargo build --release --locked --bin mirrorfleet)

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
strip -o "$context/mirrorfleet" "$binary"
cp /etc/ssl/certs/ca-certificates.crt "$context/ca-certificates.crt"
mkdir "$context/programs"
limit=52
if [ "${WITH_RSYNC:-1}" = 1 ]; then
    "$top/e2e/collect-program.sh" "$context/programs" rsync
    limit=61
fi
rm -f "$archive"
buildah bud --quiet --isolation chroot --storage-driver vfs --format docker --tag "$image" -f "$top/Dockerfile" "$context"
buildah push --quiet --storage-driver vfs "$image" "docker-archive:$archive:$image"
size=$(stat -c %s "$archive")
echo "$image: $((size / 1000000)) MB"
[ "$size" -lt "${limit}000000" ] || { echo "the image is over $limit MB" >&2; exit 1; }
