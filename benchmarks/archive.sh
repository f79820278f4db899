#!/bin/sh
# Archives beside raw files: pack, unpack, and a merge of three models from each. Wall and CPU
# seconds, peak memory. The merges must have the same bytes.
#   archive.sh BUILD_DIR WORK_DIR [ROUNDS]
set -eu
tools=$(cd "$1" && pwd)/tools work=$2 rounds=${3:-3}
mkdir -p "$work"
cd "$work"

timed() { # title command...
    title=$1
    shift
    /usr/bin/time -f "$title: %e s wall, %U + %S s CPU, %M KB" "$@" > /dev/null
}

for seed in 1 2 3; do
    [ -d "m$seed" ] || "$tools/uqm-make-checkpoint" "m$seed" --dtype bf16 --layout llama \
        --layers 2 --hidden 2048 --inner 5504 --heads 16 --seed "$seed" -q > /dev/null
    timed "pack m$seed" "$tools/uqmerge" pack "m$seed" "m$seed.uqz" --overwrite --memory 256M -q
done
du -b m1/model.safetensors m1.uqz

recipe() { # suffix
    printf 'merge_method: linear\ndtype: bfloat16\nmodels:\n'
    for seed in 1 2 3; do
        printf -- '- {model: m%d%s, parameters: {weight: %d}}\n' "$seed" "$1" "$seed"
    done
}
recipe '' > raw.yml
recipe .uqz > packed.yml

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    rm -rf unpacked
    timed unpack "$tools/uqmerge" unpack m1.uqz unpacked --memory 256M -q
    for kind in raw packed; do
        rm -rf "out-$kind"
        timed "merge, $kind" "$tools/uqmerge" merge "$kind.yml" "out-$kind" --memory 256M -q
    done
done
cmp m1/model.safetensors unpacked/model.safetensors
cmp out-raw/model.safetensors out-packed/model.safetensors
