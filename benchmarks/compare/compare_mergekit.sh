#!/bin/bash
# The same merges by uqmerge and by mergekit, in turns, on a base and three models of the 7B shapes.
# One JSON line a method: medians of the wall and CPU seconds of both, and their ratios.
#
#     benchmarks/compare/compare_mergekit.sh BUILD MERGEKIT_YAML DIR [ROUNDS] [METHOD...]
#
# MERGEKIT_YAML is mergekit's program in a virtual environment of its own. DIR gets the models (two
# layers with embeddings and head: 1.3 GB each) if they are not there, and the outputs. Every run
# finds its inputs in the page cache as far as they fit, and its output is synced within its time.
set -u
[ $# -ge 3 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
build=$(realpath "$1") mergekit=$(realpath -s "$2") dir=$3 rounds=${4:-3}
shift 3
[ $# -gt 0 ] && shift
methods=${*:-linear ties della}
mkdir -p "$dir" && cd "$dir" || exit 1

for k in 0 1 2 3; do
    [ -e "m$k/config.json" ] && continue
    "$build/tools/uqm-make-checkpoint" "m$k" --layout llama --layers 2 --dtype bf16 --seed "$k" -q ||
        exit 1
done

# The recipe of a method, on standard output.
recipe() {
    echo "merge_method: $1"
    echo "dtype: bfloat16"
    [ "$1" = linear ] || echo "base_model: m0"
    echo "models:"
    for k in 1 2 3; do
        echo "  - model: m$k"
        echo "    parameters: {weight: 0.4$([ "$1" = linear ] || echo ", density: 0.5")}"
    done
}

# timed NAME COMMAND...: appends "wall cpu" to times.NAME.
timed() {
    local name=$1
    shift
    rm -rf out
    sync
    /usr/bin/time -f '%e %U %S' -o one "$BASH" -c '"$@" > log 2>&1 && sync -f out' x "$@" ||
        { tail -n 5 log >&2; exit 1; }
    tail -n 1 one | awk '{ print $1, $2 + $3 }' >> "times.$name"
}

# median NAME COLUMN
median() { cut -d ' ' -f "$2" "times.$1" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }

for method in $methods; do
    recipe "$method" > recipe.yml
    rm -f times.*
    for ((r = 0; r < rounds; r++)); do
        timed ours "$build/tools/uqmerge" merge recipe.yml out --memory 2G --seed 1 --progress never
        timed theirs "$mergekit" recipe.yml out --random-seed 1 --no-copy-tokenizer \
            --no-write-model-card --quiet
    done
    awk -v m="$method" -v ow="$(median ours 1)" -v oc="$(median ours 2)" \
        -v tw="$(median theirs 1)" -v tc="$(median theirs 2)" -v n="$rounds" 'BEGIN {
        printf "{\"case\":\"mergekit\",\"method\":\"%s\",\"rounds\":%d,\"seconds\":%s,", m, n, ow
        printf "\"cpu_seconds\":%s,\"mergekit_seconds\":%s,\"mergekit_cpu_seconds\":%s,", oc, tw, tc
        printf "\"ratio\":%.2f,\"cpu_ratio\":%.2f}\n", tw / ow, tc / oc }'
done
rm -rf out
