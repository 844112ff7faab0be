#!/bin/sh
# Copies the kinds' definitions into the chart, which installs and upgrades them. A test compares the copies.
set -eu
cd "$(dirname "$0")/.."
mkdir -p charts/mirrorfleet/files/crds
rm -f charts/mirrorfleet/files/crds/*.yaml
cp crds/*.mirrorfleet.dev.yaml charts/mirrorfleet/files/crds/
