#!/usr/bin/env bash
# Puts a program of this machine, and the libraries and the loader that it needs, below a folder, at the paths where it
# looks for them: collect-program.sh FOLDER PROGRAM
set -euo pipefail
folder=${1:?usage: collect-program.sh FOLDER PROGRAM}
program=${2:?usage: collect-program.sh FOLDER PROGRAM}
path=$(command -v "$program") || { echo "$program is not installed" >&2; exit 1; }

# cp follows links, so that what a link names is there under the link's name.
mkdir -p "$folder/usr/bin"
cp -L "$path" "$folder/usr/bin/$program"
# Lines are `name => /path (address)`, or for the loader `/path (address)`; a program without libraries has none.
ldd "$path" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$folder$(dirname "$library")"
    cp -L "$library" "$folder$library"
done
# Whoever the container runs as can read them, and nobody can change them.
find "$folder" -type d -exec chmod 0755 {} +
find "$folder" -type f -exec chmod 0555 {} +
