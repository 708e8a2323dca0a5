# Configuring and building with the presets. Sourced after common.sh.
# shellcheck shell=bash

# build_preset NAME [TARGET...]
build_preset() {
    local preset=$1
    shift
    local targets=()
    (($# == 0)) || targets=(--target "$@")
    run_logged "$CACHE_DIR/log/configure-$preset.log" "configure $preset" cmake -S "$ROOT" --preset "$preset" || return 1
    run_logged "$CACHE_DIR/log/build-$preset.log" "build $preset" \
        cmake --build "$ROOT/build/$preset" -j "$(nproc)" "${targets[@]}"
}
