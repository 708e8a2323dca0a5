# The stock clients of other languages that tests/clients runs, each built once into the cache folder. Sourced after
# common.sh.
# shellcheck shell=bash

CLIENT_BUILD_SECONDS=600

clients_build() { with_lock "$CACHE_DIR/clients.lock" clients_build_locked; }

clients_build_locked() {
    client_require go go build -o client .
    client_require js npm ci --no-audit --no-fund
    client_require rust cargo build --quiet --locked --target-dir target --config profile.dev.debug=false
    # A compiler is no part of the runtime that Kafka needs.
    if have javac; then
        client_require java mvn -B -q compile dependency:build-classpath -Dmdep.outputFile=classpath
    fi
}

# client_require LANGUAGE COMMAND...: COMMAND builds a copy of tests/clients/LANGUAGE; changed sources build it again. Its
# test is skipped where there is no toolchain or no registry.
client_require() {
    local sources=$ROOT/tests/clients/$1 folder=$CACHE_DIR/client-$1 log=$CACHE_DIR/log/client-$1.log language=$1
    shift
    diff -rq "$sources" "$folder/sources" >/dev/null 2>&1 && return 0
    have "$1" || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    cp -R "$sources" "$folder/build"
    if run_logged "$log" "client of $language" env -C "$folder/build" timeout "$CLIENT_BUILD_SECONDS" "$@"; then
        cp -R "$sources" "$folder/sources"
    else
        note "without it the test of this client is skipped"
    fi
}
