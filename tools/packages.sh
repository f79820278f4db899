# Sourced by quickstart.sh and run-tests.sh: install the Debian packages that are missing.
#   need_packages NAME...
build_packages='build-essential meson ninja-build pkg-config libxxhash-dev libssl-dev liburing-dev
libopenblas-dev libjansson-dev libfyaml-dev libjpeg-dev libspng-dev libwebp-dev
libzstd-dev libsentencepiece-dev libvulkan-dev glslc'
test_packages='libcmocka-dev clang clang-format python3 spirv-tools vulkan-validationlayers
mesa-vulkan-drivers openssl xxhash zstd'

need_packages() {
    if ! command -v dpkg-query > /dev/null; then
        echo "This is no Debian: what it takes is $*" >&2
        return 0
    fi
    missing=
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ "$missing" ] || return 0

    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "Installing$missing"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}
