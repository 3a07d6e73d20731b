#!/usr/bin/env bash
# Builds the order service, kills it while an order waits for its payment, starts it again and sees the order
# through. Every step must have run exactly once.
set -euo pipefail
cd "$(dirname "$0")"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
# The versions Tidewheel is tested with. Cargo drops what this program does not need.
cp ../../Cargo.lock Cargo.lock
cargo build
service="${ORDER_SERVICE:-$CARGO_TARGET_DIR/debug/order-service}"

folder="$(mktemp -d)"
process=""
clean_up() {
    if [ -n "$process" ]; then
        kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT

fail() {
    echo "order-service: $1" >&2
    cat "$folder"/*.log >&2
    exit 1
}

# Starts the service on a free port; sets `process` and `runs`, the address of the runs.
start() {
    local log="$folder/$1.log" address=""
    : >"$log"
    "$service" --listen 127.0.0.1:0 --data-dir "$folder/data" >"$log" 2>&1 &
    process=$!
    for _ in $(seq 300); do
        address="$(grep -o '127\.0\.0\.1:[1-9][0-9]*' "$log" | head -n 1 || true)"
        if [ -n "$address" ] && curl -sf -o /dev/null "http://$address/health/ready"; then
            runs="http://$address/v1/namespaces/default/runs"
            return
        fi
        kill -0 "$process" 2>/dev/null || fail "ended before it was ready"
        sleep 0.1
    done
    fail "did not become ready"
}

start first
answer="$(curl -sS "$runs" --json '{"workflow": "order", "key": "4711", "input": {"item": "lamp", "amount_cents": 4200}}')"
run="$(grep -o '"run_id":"[^"]*"' <<<"$answer" | head -n 1 | cut -d '"' -f 4 || true)"
[ -n "$run" ] || fail "the start was answered with $answer"

history=""
for _ in $(seq 300); do
    history="$(curl -sS "$runs/$run/history")"
    [[ "$history" == *'"signal-awaited"'* ]] && break
    sleep 0.1
done
[[ "$history" == *'"signal-awaited"'* ]] || fail "the order does not wait for its payment: $history"

kill -KILL "$process"
wait "$process" 2>/dev/null || true
start second

answer="$(curl -sS "$runs/$run?timeout=30s")"
[[ "$answer" == *'"status":"running"'* ]] || fail "after the restart the order is $answer"
curl -sS -o /dev/null --fail-with-body "$runs/$run/signals" --json '{"name": "payment", "payload": {"reference": "p-1"}}' ||
    fail "the payment was refused"
answer="$(curl -sS "$runs/$run/result?timeout=30s")"
[[ "$answer" == *'"status":"completed"'*'"shipment":"parcel-for-reservation-of-lamp"'* ]] ||
    fail "the order ended as $answer"

kill -TERM "$process"
status=0
wait "$process" || status=$?
process=""
[ "$status" -eq 0 ] || fail "stopped with exit code $status on SIGTERM"

for step in reserve ship; do
    count="$(cat "$folder"/*.log | grep -c "^step $step " || true)"
    [ "$count" -eq 1 ] || fail "the step $step ran $count times"
done
echo "order-service: an order outlived a SIGKILL: $answer"
