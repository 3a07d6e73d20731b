#!/usr/bin/env bash
# Runs Restate and the worker of this folder on loopback, with a new data folder and acknowledgements after fsync,
# until SIGTERM or ctrl-c; then ends both.
# usage: start.sh TOOLS DATA [PARTITIONS]
#   TOOLS  folder for the server (from npm) and the built worker; kept, so that the next start is quick
#   DATA   folder for Restate's data and the logs of both; must not exist
# Needs npm, cargo and curl. Ports: INGRESS_PORT, ADMIN_PORT, NODE_PORT, WORKER_PORT, AWAKEABLES_PORT.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
if [ $# -lt 2 ]; then
    echo "usage: start.sh TOOLS DATA [PARTITIONS]" >&2
    exit 2
fi
version=1.7.12
partitions="${3:-4}"
ingress_port="${INGRESS_PORT:-8080}" admin_port="${ADMIN_PORT:-9070}" node_port="${NODE_PORT:-5122}"
worker_port="${WORKER_PORT:-9081}" awakeables_port="${AWAKEABLES_PORT:-9082}"
for tool in npm cargo curl; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is not installed: Restate's server comes from npm and its worker is built with cargo" >&2
        exit 1
    fi
done
mkdir -p "$1"
tools="$(cd "$1" && pwd)"
if [ -e "$2" ]; then
    echo "$2 exists: the comparison begins with no data" >&2
    exit 1
fi
mkdir -p "$2"
data="$(cd "$2" && pwd)"

if [ ! -d "$tools/server-$version/node_modules/@restatedev" ]; then
    mkdir -p "$tools/server-$version"
    (cd "$tools/server-$version" && npm init -y && npm install "@restatedev/restate-server@$version") \
        >"$data/npm.log" 2>&1 || { cat "$data/npm.log" >&2; exit 1; }
fi
server="$(find "$tools/server-$version/node_modules/@restatedev" -path '*/bin/restate-server' | head -n 1)"
if [ -z "$server" ]; then
    echo "npm has no restate-server $version for this machine" >&2
    exit 1
fi
CARGO_TARGET_DIR="$tools/worker" cargo build --release --locked --quiet --manifest-path "$here/worker/Cargo.toml"

processes=()
stop() {
    trap - EXIT
    local process
    for process in "${processes[@]}"; do
        kill -TERM "$process" 2>/dev/null || true
    done
    for process in "${processes[@]}"; do
        wait "$process" 2>/dev/null || true
    done
}
trap stop EXIT
trap 'exit 0' TERM INT

export RESTATE_DISABLE_TELEMETRY=true RESTATE_DEFAULT_NUM_PARTITIONS="$partitions" RESTATE_BASE_DIR="$data/data"
export RESTATE_BIND_IP=127.0.0.1 RESTATE_LISTEN_MODE=tcp RESTATE_ADVERTISED_HOST=127.0.0.1
export RESTATE_BIND_PORT="$node_port" RESTATE_INGRESS__BIND_PORT="$ingress_port"
export RESTATE_ADMIN__BIND_PORT="$admin_port"
"$server" --no-logo >"$data/server.log" 2>&1 </dev/null &
processes+=($!)
"$tools/worker/release/restate-worker" "127.0.0.1:$worker_port" "127.0.0.1:$awakeables_port" \
    >"$data/worker.log" 2>&1 </dev/null &
processes+=($!)

for attempt in $(seq 240); do
    if curl -sf -o /dev/null "http://127.0.0.1:$admin_port/deployments" \
        -H 'content-type: application/json' -d "{\"uri\":\"http://127.0.0.1:$worker_port\"}" &&
        [ "$(curl -sf "http://127.0.0.1:$ingress_port/Bench/steps1" -H 'content-type: application/json' -d '"ready"')" = '"ready"' ]; then
        echo "restate is ready on http://127.0.0.1:$ingress_port, awakeables on http://127.0.0.1:$awakeables_port"
        wait
        exit 1
    fi
    for process in "${processes[@]}"; do
        kill -0 "$process" 2>/dev/null || attempt=240
    done
    [ "$attempt" -lt 240 ] || break
    sleep 0.5
done
echo "Restate did not become ready" >&2
tail -n 20 "$data/server.log" "$data/worker.log" >&2
exit 1
