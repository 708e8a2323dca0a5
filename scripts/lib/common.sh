# Shared by every script: what is printed, what is cleaned up, how waiting is done. Sourced, never run.
# shellcheck shell=bash disable=SC2034 # these are for the scripts that source it

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE_DIR=${WINDROW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/windrow}

# Colour only for a person, and never against NO_COLOR (https://no-color.org).
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' red='' plain=''
fi

say() { printf '%s\n' "$*" >&2; }
step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain" >&2; }
note() { printf '%s    %s%s\n' "$dim" "$*" "$plain" >&2; }
fail() {
    printf '%serror: %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}

# --- clean-up: last started, first stopped; runs once, on exit, Ctrl-C and SIGTERM ---

cleanup_commands=()

at_exit() { cleanup_commands+=("$*"); }

cleanup_run() {
    local status=$? i
    trap '' INT TERM # a second Ctrl-C must not leave a broker behind
    [ -z "$running_group" ] || kill -TERM -- "-$running_group" 2>/dev/null || true
    for ((i = ${#cleanup_commands[@]} - 1; i >= 0; i--)); do
        eval "${cleanup_commands[i]}" || true
    done
    cleanup_commands=()
    trap - EXIT
    exit "$status"
}

cleanup_install() {
    trap cleanup_run EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# stop_process PID SECONDS: SIGTERM, and SIGKILL for what has not left after SECONDS.
stop_process() {
    local pid=$1 ticks=$(($2 * 10))
    kill -TERM "$pid" 2>/dev/null || return 0
    kill -CONT "$pid" 2>/dev/null || true
    while ((ticks-- > 0)) && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# --- waiting ---

# wait_until SECONDS WHAT COMMAND...: polls COMMAND; on a terminal shows how long it has been.
wait_until() {
    local limit=$1 what=$2 start=$SECONDS
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        if ((SECONDS - start >= limit)); then
            progress_clear
            say "gave up on $what after $limit s"
            return 1
        fi
        progress "$what, $((SECONDS - start)) s"
        sleep 0.2
    done
    progress_clear
}

progress() { if [ -t 2 ]; then printf '\r\e[K    %s' "$*" >&2; fi; }
progress_clear() { if [ -t 2 ]; then printf '\r\e[K' >&2; fi; }

# run_logged LOG WHAT COMMAND...: output goes to LOG; a terminal sees the time and the last line, a failure
# shows the end of LOG. The command runs in a process group of its own, so that Ctrl-C reaches the traps at once and
# the clean-up takes a compiler along with its cmake.
running_group=''

run_logged() {
    local log=$1 what=$2 start=$SECONDS pid status=0
    shift 2
    mkdir -p "$(dirname "$log")"
    : >"$log"
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    pid=$! running_group=$!
    set +m
    while kill -0 "$pid" 2>/dev/null; do
        progress "$what, $((SECONDS - start)) s  $(tail -c 400 "$log" | tail -n 1 | tr -d '\r\e' | cut -c 1-80)"
        sleep 0.2
    done
    progress_clear
    wait "$pid" || status=$?
    running_group=''
    if ((status != 0)); then
        tail -n 40 "$log" >&2
        say "$what failed with status $status; all of its output: $log"
        return "$status"
    fi
    note "$what: done in $((SECONDS - start)) s"
}

# run_group COMMAND...: in a process group of its own, for the same reason. What it prints is shown.
run_group() {
    local status=0
    set -m
    "$@" </dev/null &
    running_group=$!
    set +m
    wait "$running_group" || status=$?
    running_group=''
    return "$status"
}

# --- small things ---

http_answers() { curl -fs -o /dev/null --max-time 2 "$1"; }

have() { command -v "$1" >/dev/null 2>&1; }

# free_ports COUNT: that many different free TCP ports on loopback, one a line.
free_ports() {
    python3 - "$1" <<'PY'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])
PY
}

# with_lock FILE COMMAND...: one at a time on this machine.
with_lock() {
    local file=$1
    shift
    mkdir -p "$(dirname "$file")"
    (
        flock -w 600 8 || exit 1
        "$@"
    ) 8>"$file"
}
