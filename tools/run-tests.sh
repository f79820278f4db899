#!/bin/sh
# Build with gcc and clang, run every test, run them again under the sanitizers. The last line is
# "N passed, N failed", over all builds; the exit status is not 0 unless all passed.
set -eu
if [ $# -gt 0 ]; then
    echo "usage: tools/run-tests.sh (it takes no arguments; its first lines say what it does)"
    exit 2
fi
cd "$(dirname "$0")/.."
. tools/packages.sh

# shellcheck disable=SC2086
need_packages $build_packages $test_packages

# The tests that start threads: TSan looks at these.
threaded='threads engine file pool sink stream checkpoint merge_stream write verify gemm attention
network uq_candidate uq_unchanged'
broken=0
logs=

# How long a test program goes on fuzzing under AddressSanitizer, in seconds.
fuzz_seconds=${UQM_FUZZ_SECONDS:-60}
# One test more than there are cores: a fuzzer's time is the clock's.
at_once=$(($(nproc) + 1))

# Where it is, it links in a fifth of the time.
if command -v mold > /dev/null; then
    export CC_LD=mold CXX_LD=mold
fi

# Nothing of clang's is run, and its warnings do not hang on optimization; sanitizers slow the rest
# down more than -O1 does. It saves minutes of compiling.

# step NAME COMMAND...: a failure is noted and the rest goes on.
# Steps that build count as one failure each; those that test are counted test by test.
step() {
    what=$1
    shift
    echo
    echo "== $what"
    if "$@"; then
        return 0
    fi
    echo "== $what: FAILED" >&2
    case $what in
    *test*) ;;
    *) broken=$((broken + 1)) ;;
    esac
    return 1
}

# configure FOLDER [OPTION...]: backtraces want lines and no more, and -g1 takes a sixth off the time
# of compiling; Mesa compiles the same shaders for every build's tests.
configure() {
    folder=$1
    shift
    set -- -Dc_args=-g1 -Dcpp_args=-g1 "-Dshader_cache=$PWD/build/mesa-shader-cache" "$@"
    if [ -f "$folder/build.ninja" ]; then
        meson configure "$folder" "$@"
    else
        meson setup "$folder" "$@"
    fi
}

# build FOLDER [TARGET...]: quiet unless it fails.
build() {
    folder=$1
    shift
    if ninja -C "$folder" -k 0 "$@" > "$folder/build.log" 2>&1; then
        grep -E 'warning:' "$folder/build.log" || true
        return 0
    fi
    grep -E -A 8 'error:|^FAILED|undefined reference' "$folder/build.log" | head -n 120 >&2
    return 1
}

# run FOLDER [ARGUMENT...]: the tests of a build.
run() {
    folder=$1
    shift
    rm -f "$folder/meson-logs/testlog.json"
    logs="$logs $folder/meson-logs/testlog.json"
    meson test -C "$folder" --print-errorlogs "$@"
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

CC=gcc CXX=g++ step 'gcc: configure' configure build -Dtests=enabled -Dwerror=true &&
    step 'gcc: build' build build &&
    { step 'gcc: test' run build --no-rebuild --timeout-multiplier 4 || true; }

CC=gcc CXX=g++ step 'ASan and UBSan: configure' configure build-asan -Dtests=enabled \
    -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 \
    -Dfuzz_seconds="$fuzz_seconds" &&
    step 'ASan and UBSan: build' build build-asan &&
    { step 'ASan and UBSan: test all but what is large, and the style' run build-asan --no-rebuild \
        --no-suite large --no-suite style --timeout-multiplier 10 \
        --num-processes "$at_once" || true; }

# Only these tests' programs are built.
# shellcheck disable=SC2086
CC=gcc CXX=g++ step 'TSan: configure' configure build-tsan -Dtests=enabled -Db_sanitize=thread \
    -Db_lundef=false &&
    { step 'TSan: build and test what streams and threads' run build-tsan \
        --timeout-multiplier 10 $threaded || true; }

CC=clang CXX=clang++ step 'clang: configure' configure build-clang -Dtests=enabled -Dwerror=true \
    -Doptimization=0 &&
    { step 'clang: build' build build-clang || true; }

echo
# shellcheck disable=SC2086
exec python3 tools/count-tests.py --broken-builds "$broken" $logs
