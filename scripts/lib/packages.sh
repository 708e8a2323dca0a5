# The Debian packages each task needs, and how they get installed. Sourced after common.sh.
# shellcheck shell=bash disable=SC2034 # these are for the scripts that source it

packages_build=(
    gcc libc6-dev cmake ninja-build pkg-config librdkafka-dev libnats-dev libzstd-dev zlib1g-dev libyaml-dev libmicrohttpd-dev
    libgnutls28-dev libssl-dev libxxhash-dev libcurl4-openssl-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler liburing-dev check
)
packages_servers=(nats-server kcat openjdk-17-jre-headless maven ca-certificates curl openssl)
packages_python=(python3 python3-venv)
packages_checks=(clang clang-format clang-tidy cppcheck libclang-rt-14-dev llvm dpkg-dev lintian mmdebstrap
    nginx-light haproxy mandoc shellcheck prometheus python3-jsonschema chromium chromium-driver fonts-dejavu-core)

# Prints those of the given packages that are not installed.
packages_missing() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
    done
}

# packages_require NAME...: installs what is missing as root; anyone else gets the line to run.
packages_require() {
    local missing
    have dpkg-query || {
        note "not a Debian system: assuming these are here: $*"
        return 0
    }
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]} > 0)) || return 0
    local install=(apt-get install -y --no-install-recommends "${missing[@]}")
    if [ "$(id -u)" -ne 0 ]; then
        say "These packages are missing. Run this line, then start again:"
        say ""
        say "    sudo ${install[*]}"
        say ""
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    run_logged "$CACHE_DIR/log/apt-update.log" "apt-get update" apt-get update
    run_logged "$CACHE_DIR/log/apt-install.log" "installing ${#missing[@]} packages" "${install[@]}"
}
