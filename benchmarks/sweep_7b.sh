#!/bin/bash
# Several steps of a selection in one sweep, at layers of the 7B shapes: what reading costs from
# the disk and from memory, and beside writing each step's merge first. One JSON line a run.
#
#     benchmarks/sweep_7b.sh BUILD DIR [WORDS...]
#
# DIR gets four models of two layers (5.3 GB in all), made if they are not there, and one merge at a
# time. For each number of words (6 and 380 unless given: some 85 and 830 tokens a pass) the merges of
# two, three and four models are asked one record, four passes:
#   sweep, warm   the models' files in the page cache, from which they are copied
#   sweep, cold   none of them in the page cache
#   steps, cold   one by one as recipes, which select does without --window
#   written       each merge written by `merge`, thrown out of the page cache, and read by `uq`
# ROUNDS (2) rounds, interleaved; take the least or the median.
set -u
[ $# -ge 2 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2; }
build=$1 dir=$2
shift 2
zoo=$(dirname "$0")/../tests/zoo
mkdir -p "$dir" || exit 1
dir=$(realpath "$dir")
for k in 0 1 2 3; do
    [ -e "$dir/m$k/config.json" ] && continue
    "$build/tools/uqm-make-checkpoint" "$dir/m$k" --layout llama --layers 2 --dtype bf16 \
        --seed "$k" --tokenizer "$zoo/models/base" -q || exit 1
done
for n in 2 3 4; do
    echo "merge_method: linear"
    echo "models:"
    for k in $(seq 0 $((n - 1))); do echo "  - model: $dir/m$k"; done
    echo "parameters: {weight: 1.0}"
done > "$dir/all.yml"
for n in 2 3 4; do
    awk -v n="$n" '/^merge_method/ { i++ } i == n - 1' "$dir/all.yml" > "$dir/r$n.yml"
done
rm "$dir/all.yml"

evict() { # FOLDER...: its files leave the page cache
    sync
    find "$@" -type f | while read -r file; do
        dd of="$file" oflag=nocache conv=notrunc,fdatasync count=0 status=none
    done
}
warm() { cat "$dir"/m?/*.safetensors > /dev/null; }

uq() { # MODEL... [--option...]
    "$build/tools/uqmerge" uq "$@" --data "$dir/words.jsonl" --memory 4G --progress never -q \
        --json > "$dir/out.json" || exit 1
}
sweep() { uq "$dir/r2.yml" "$dir/r3.yml" "$dir/r4.yml" --window 3 "$@"; }
steps() { uq "$dir/r2.yml" "$dir/r3.yml" "$dir/r4.yml" "$@"; }
written() {
    for n in 2 3 4; do
        "$build/tools/uqmerge" merge "$dir/r$n.yml" "$dir/merged" --memory 4G -q \
            --progress never || exit 1
        evict "$dir/merged"
        uq "$dir/merged"
        rm -r "$dir/merged"
    done
}

report() { # NAME COMMAND...
    local name=$1 seconds wall user system
    shift
    TIMEFORMAT='%R %U %S'
    seconds=$({ time "$@" > /dev/null; } 2>&1) || { echo "$seconds" >&2; exit 1; }
    read -r wall user system <<< "$seconds"
    echo "{\"bench\": \"sweep_7b\", \"words\": $words, \"case\": \"$name\", \"wall_s\": $wall," \
        "\"user_s\": $user, \"system_s\": $system}"
}

for words in ${*:-6 380}; do
    text=$(yes 'what stands here' | head -n $((words / 3)) | tr '\n' ' ')
    echo "{\"id\": \"r\", \"question\": \"$text?\", \"choices\": [\"red\", \"blue\"], \"answer\": 0}" \
        > "$dir/words.jsonl"
    for _ in $(seq "${ROUNDS:-2}"); do
        warm
        report 'sweep, warm' sweep --direct off
        evict "$dir"/m?
        report 'sweep, cold' sweep
        evict "$dir"/m?
        report 'steps, cold' steps
        evict "$dir"/m?
        report 'written' written
    done
done
