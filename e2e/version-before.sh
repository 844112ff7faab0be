#!/usr/bin/env bash
# Puts the version that people upgrade from into a folder, and builds its program there: version-before.sh FOLDER
set -euo pipefail
folder=${1:?usage: version-before.sh FOLDER}
# The last commit with chart 0.2.0.
commit=cd81b4feaf4f6a8183b8cc17a03a6c51c385ddbd
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$folder"
git -C "$top" archive "$commit" | tar -x -C "$folder"
cd "$folder"
CARGO_TARGET_DIR=$folder/target cargo build --release --locked --bin mirrorfleet
cp "$folder/target/$(rustc -vV | sed -n 's/^host: //p')/release/mirrorfleet" "$folder/mirrorfleet"
