#!/bin/sh
# From a fresh Debian 12 to a merge: install what is missing, build, choose which of the
# repository's ten models to merge by their uncertainty, check the result.
set -eu
if [ $# -gt 0 ]; then
    echo "usage: tools/quickstart.sh (it takes no arguments; its first lines say what it does)"
    exit 2
fi
cd "$(dirname "$0")/.."
. tools/packages.sh

# shellcheck disable=SC2086
need_packages $build_packages

# A build without the tests, in a folder that run-tests.sh may share.
[ -f build/build.ninja ] || meson setup build
ninja -C build tools/uqmerge

models=
for name in reason know knowmc chat ocr dense general textonly region textcap; do
    models="$models tests/zoo/models/$name"
done
sets=
for name in mmb oodcv sci seed ai2d; do
    sets="$sets tests/zoo/data/heldin/$name.jsonl"
done

mkdir -p out
echo
echo "uqmerge select: ten models, five sets, out/selected"
# shellcheck disable=SC2086
build/tools/uqmerge select $models --data $sets --out out/selected --overwrite --seed 1
echo
echo "uqmerge verify out/selected"
build/tools/uqmerge verify out/selected
