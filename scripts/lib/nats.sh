# nats-server with JetStream on loopback. Sourced after common.sh.
# shellcheck shell=bash

# nats_start DIR PORT MONITOR_PORT: in the background, stopped at exit; returns when it is healthy.
nats_start() {
    mkdir -p "$1"
    nats-server -js -sd "$1" -a 127.0.0.1 -p "$2" -m "$3" >"$1/server.log" 2>&1 </dev/null &
    local pid=$!
    at_exit "stop_process $pid 10"
    wait_until 20 "NATS starts on 127.0.0.1:$2" http_answers "http://127.0.0.1:$3/healthz" && return 0
    tail -n 30 "$1/server.log" >&2
    return 1
}
