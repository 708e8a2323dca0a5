# Private Python environments in the cache folder. Sourced after common.sh.
# shellcheck shell=bash

# venv_require NAME PIP_ARGUMENT...: makes the environment once; a changed list of arguments makes it again.
venv_require() { with_lock "$CACHE_DIR/venv.lock" venv_require_locked "$@"; }

venv_python() { printf '%s/venv-%s/bin/python' "$CACHE_DIR" "$1"; }

venv_require_locked() {
    local name=$1 dir
    shift
    dir=$CACHE_DIR/venv-$name
    [ "$(cat "$dir/requested" 2>/dev/null)" = "$*" ] && return 0
    rm -rf "$dir"
    run_logged "$CACHE_DIR/log/venv-$name.log" "Python environment" /usr/bin/python3 -m venv "$dir" || return 1
    run_logged "$CACHE_DIR/log/venv-$name.log" "pip install $*" "$dir/bin/pip" install --disable-pip-version-check "$@" || return 1
    printf '%s\n' "$*" >"$dir/requested"
}
