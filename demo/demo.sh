#!/usr/bin/env bash
# Mirrors the smallest real suite of this machine's own apt sources, and installs from it with a real apt.
# MIRRORFLEET_BIN names the program; KEEP=1 stays up at the end. Everything is in demo/.work/, and goes with it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$here/.work
bin=${MIRRORFLEET_BIN:?set MIRRORFLEET_BIN to the program, or call \`make demo\`}
keep=${KEEP:-}
server=

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '   $ %s\n' "$*"; "$@"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  if [ -z "$keep" ]; then rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for tool in apt-get dpkg curl sha256sum; do
  command -v "$tool" >/dev/null || die "$tool is missing; the demo needs a Debian machine with curl"
done
[ -x "$bin" ] || die "$bin is not a program; build it with \`make build\`"
rm -rf "$work"
mkdir -p "$work"

# ---------------------------------------------------------------------------------------------------------------------
say "Manifests from this machine's own apt sources and keyrings"
codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
[ -n "$codename" ] || die "/etc/os-release names no code name; the demo needs Debian or a relative of it"
suite=$codename-updates
"$bin" init --suite "$suite" --out "$work/mirrors.yaml" ||
  die "this machine has no usable apt source for $suite; see the message above, or run \`mirrorfleet init --suite SUITE\` for another"
# Without the keys, which are long.
awk '/^kind: Secret/ {secret = 1} /^---/ {secret = 0} !(secret && /^    [A-Za-z0-9+\/=]+$/)' "$work/mirrors.yaml" | sed 's/^/   /'
mirror=$(awk '/^kind: Mirror$/ {found = 1} found && /^  name: / {print $2; exit}' "$work/mirrors.yaml")
path=$(awk '/^  serving:$/ {found = 1} found && /^    path: / {print $2; exit}' "$work/mirrors.yaml")
path=${path:-$mirror}

# ---------------------------------------------------------------------------------------------------------------------
say "Sync and verify $suite"
started=$(date +%s)
run "$bin" local -f "$work/mirrors.yaml" --data "$work/data" --once
printf '   took %s s, the store has %s\n' "$(($(date +%s) - started))" "$(du -sh "$work/data" | cut -f1)"

# ---------------------------------------------------------------------------------------------------------------------
say "Serve it, and keep it fresh"
"$bin" local -f "$work/mirrors.yaml" --data "$work/data" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --status-listen 127.0.0.1:0 >"$work/local.out" 2>"$work/local.log" &
server=$!
address='' metrics='' page=''
for _ in $(seq 100); do
  address=$(sed -n 's/^listening on //p' "$work/local.out")
  metrics=$(sed -n 's/^metrics on //p' "$work/local.out")
  page=$(sed -n 's/^status page on //p' "$work/local.out")
  [ -n "$address" ] && [ -n "$metrics" ] && [ -n "$page" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/local.log" >&2; die "the server ended"; }
  sleep 0.1
done
[ -n "$address" ] || die "the server did not say where it listens; see $work/local.log"
printf '   http://%s/%s/\n' "$address" "$path"

# ---------------------------------------------------------------------------------------------------------------------
say "A real apt, in a root of its own, that knows nothing but our server"
root=$work/apt
mkdir -p "$root"/{state/lists/partial,cache/archives/partial,etc/preferences.d,etc/trusted.gpg.d,log}
: >"$root/status"
# The keys that the machine itself trusts this archive by, as init found them.
awk '/^  keyring.gpg: / {found = 1; sub(/^  keyring.gpg: *[|>]?[-+]?/, "")} /^---/ {found = 0} found' "$work/mirrors.yaml" |
  tr -d ' \n' | base64 -d >"$root/keyring.gpg"
if head -c 27 "$root/keyring.gpg" | grep -qa 'BEGIN PGP'; then mv "$root/keyring.gpg" "$root/keyring.asc"; keyring=$root/keyring.asc; else keyring=$root/keyring.gpg; fi
components=$(awk '/^      components:/ {found = 1; next} found && /^      - / {printf "%s ", $2; next} found {exit}' "$work/mirrors.yaml")
architecture=$(dpkg --print-architecture)
printf 'deb [arch=%s signed-by=%s] http://%s/%s %s %s\n' "$architecture" "$keyring" "$address" "$path" "$suite" "$components" | tee "$root/sources.list" | sed 's/^/   /'
cat >"$root/apt.conf" <<CONF
Dir::State "$root/state/";
Dir::State::status "$root/status";
Dir::Cache "$root/cache/";
Dir::Log "$root/log/";
Dir::Etc "$root/etc/";
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "$root/etc/trusted.gpg.d";
Dir::Etc::parts "/dev/null";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "$(id -un)";
Acquire::http::Proxy "DIRECT";
Acquire::Languages "none";
CONF
# APT_CONFIG is read before the machine's own parts; the options on the command line win over those.
apt() {
  local tool=$1
  shift
  env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY APT_CONFIG="$root/apt.conf" "$tool" \
    -o Dir::Etc::parts=/dev/null -o Acquire::http::Proxy=DIRECT "$@"
}
printf '   $ apt-get update\n'
apt apt-get update 2>&1 | sed 's/^/   /'

# The smallest package that this suite alone can install.
lists=("$root"/state/lists/*_Packages*)
[ -e "${lists[0]}" ] || die "apt fetched no Packages"
package=$(apt apt-cache dumpavail | awk -v RS= -F'\n' '
  { name = size = depends = ""
    for (i = 1; i <= NF; i++) {
      if ($i ~ /^Package: /) name = substr($i, 10)
      if ($i ~ /^Size: /) size = substr($i, 7)
      if ($i ~ /^(Pre-)?Depends: /) depends = 1
    }
    if (!depends && name != "") print size, name }' | sort -n | awk 'NR == 1 {print $2}')
if [ -n "$package" ]; then
  printf '   $ apt-get install --download-only %s\n' "$package"
  apt apt-get install --download-only --yes --no-install-recommends "$package" 2>&1 | sed 's/^/   /'
  deb=$(ls "$root"/cache/archives/*.deb | head -n 1)
else
  # Everything in this suite builds on packages of the base suite.
  package=$(apt apt-cache dumpavail | awk '/^Package: / {name = $2} /^Size: / {print $2, name}' | sort -n | awk 'NR == 1 {print $2}')
  printf '   $ apt-get download %s\n' "$package"
  (cd "$root/cache/archives" && apt apt-get download "$package") 2>&1 | sed 's/^/   /'
  deb=$(ls "$root"/cache/archives/*.deb | head -n 1)
fi

# ---------------------------------------------------------------------------------------------------------------------
say "The bytes, three ways"
promised=$(apt apt-cache show "$package" | sed -n 's/^SHA256: //p' | head -n 1)
received=$(sha256sum "$deb" | cut -d' ' -f1)
blob=$work/data/$mirror/blobs/${promised:0:2}/${promised:2}
stored=$(sha256sum "$blob" | cut -d' ' -f1)
printf '   the signed index promises  %s\n   apt received               %s\n   our blob is                %s\n' "$promised" "$received" "$stored"
[ -n "$promised" ] && [ "$promised" = "$received" ] && [ "$promised" = "$stored" ] || die "they differ"
cmp "$deb" "$blob" && printf '   %s: byte for byte the same\n' "$(basename "$deb")"

# ---------------------------------------------------------------------------------------------------------------------
say "What Prometheus sees"
curl --noproxy '*' -fsS "http://$metrics/metrics" |
  grep -E '^mirrorfleet_(region_superseded|region_snapshot|region_last_success|index_valid_until|sync_runs|served|http_(requests|response_bytes))' |
  grep -v -e _bucket -e in_flight -e '^mirrorfleet_\(http\|sync_runs\).* 0$' | sed 's/^/   /' || die "no freshness metrics at http://$metrics/metrics"

# ---------------------------------------------------------------------------------------------------------------------
say "What people see at the status page"
headline=''
for _ in $(seq 100); do
  headline=$(curl --noproxy '*' -fsS "$page" | grep -o '<h1[^>]*>[^<]*' | sed 's/.*>//')
  [ "$headline" = 'The mirrors are being listed' ] || break
  sleep 0.1
done
[ -n "$headline" ] || die "no status page at $page"
printf '   %s: %s\n' "$page" "$headline"

say "That was it"
cat <<TEXT
   $mirror holds all of $suite, verified with this machine's own keys, and apt has just used it.
   To keep such a mirror running:
     mirrorfleet init --out mirrors.yaml
     mirrorfleet local -f mirrors.yaml --data /srv/mirror --listen 0.0.0.0:8080 --metrics-listen 127.0.0.1:9090
   and on a client:
     deb [signed-by=/usr/share/keyrings/...] http://THIS-MACHINE:8080/$path $suite $components
TEXT
if [ -n "$keep" ]; then
  printf '\n   http://%s/%s/ stays up, its status page is %s, metrics at http://%s/metrics, files in %s; end it with Ctrl-C.\n' "$address" "$path" "$page" "$metrics" "$work"
  wait "$server"
fi
