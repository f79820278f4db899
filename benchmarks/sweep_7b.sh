#!/bin/bash
# Several steps of a selection in one sweep, at layers of the 7B shapes: how much of its reading is
# hidden behind its computing, and beside writing each step's merge first. One JSON line a run; for
# each number of words one more, with the medians and their ratios.
#
#     benchmarks/sweep_7b.sh BUILD DIR [WORDS...]
#
# DIR gets four models of two layers (5.3 GB in all), made if they are not there, and one merge at a
# time. For each number of words (6 and 380 unless given: some 85 and 830 tokens a pass) the merges of
# two, three and four models are asked one record, four passes:
#   alone   the sweep with reads that are over at once: computing alone (uqmerge-reads-at-once)
#   sweep   from the disk
#   steps   one by one as recipes, which select does without --window
#   merge   each merge written by `merge` ...
#   asked   ... thrown out of the page cache, and read by `uq`
# No file is in the page cache before. Runs are interleaved; ROUNDS (3) of each. CASES: which of
# alone, sweep, steps and written (merge and asked), all unless given.
set -u
[ $# -ge 2 ] || { sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 2; }
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
ask() { # PROGRAM MODEL... [--option...]
    local program=$1
    shift
    "$build/$program" uq "$@" --data "$dir/words.jsonl" --memory 4G --progress never -q --json \
        > "$dir/out.json" || exit 1
}
swept=("$dir/r2.yml" "$dir/r3.yml" "$dir/r4.yml")

times() { # CASE COMMAND...: its line, and its figures into the file of all
    local name=$1 seconds wall user system
    shift
    TIMEFORMAT='%R %U %S'
    seconds=$({ time "$@" > /dev/null; } 2>&1) || { echo "$seconds" >&2; exit 1; }
    read -r wall user system <<< "$seconds"
    echo "{\"bench\": \"sweep_7b\", \"words\": $words, \"case\": \"$name\", \"wall_s\": $wall," \
        "\"user_s\": $user, \"system_s\": $system}"
    echo "$name $round $wall $user $system" >> "$dir/times"
}

run_round() { # CASE
    evict "$dir"/m?
    case $1 in
    alone) times alone ask benchmarks/uqmerge-reads-at-once "${swept[@]}" --window 3 ;;
    sweep) times sweep ask tools/uqmerge "${swept[@]}" --window 3 ;;
    steps) times steps ask tools/uqmerge "${swept[@]}" ;;
    written)
        for n in 2 3 4; do
            times merge "$build/tools/uqmerge" merge "$dir/r$n.yml" "$dir/merged" --memory 4G -q \
                --progress never
            evict "$dir/merged"
            times asked ask tools/uqmerge "$dir/merged"
            rm -r "$dir/merged"
        done
        ;;
    *)
        echo "no such case: $1" >&2
        exit 2
        ;;
    esac
}

# A case's figure of a round is the sum of its runs; medians over the rounds.
summary() {
    awk -v words="$words" '
    { for (c = 1; c <= ($1 == "merge" || $1 == "asked") + 1; c++) {
          name = c == 1 ? $1 : "written"
          seen[name]
          wall[name, $2] += $3
          cpu[name, $2] += $4 + $5
          if ($2 > n) n = $2 } }
    function median(v, name,    i, j, t, a) {
        for (i = 1; i <= n; i++) a[i] = v[name, i]
        for (i = 1; i <= n; i++)
            for (j = i + 1; j <= n; j++)
                if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t }
        return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    function ratio(a, b) {
        if (a in seen && b in seen)
            printf ", \"%s/%s\": %.3f", a, b, median(wall, a) / median(wall, b)
    }
    END {
        printf "{\"bench\": \"sweep_7b\", \"words\": %d, \"case\": \"medians\", \"rounds\": %d", words, n
        count = split("alone sweep steps merge asked written", names, " ")
        for (c = 1; c <= count; c++)
            if (names[c] in seen)
                printf ", \"%s\": {\"wall_s\": %.2f, \"cpu_s\": %.2f}", names[c],
                    median(wall, names[c]), median(cpu, names[c])
        ratio("sweep", "alone")
        ratio("sweep", "steps")
        ratio("sweep", "written")
        print "}"
    }' "$dir/times"
}

for words in ${*:-6 380}; do
    text=$(yes 'what stands here' | head -n $((words / 3)) | tr '\n' ' ')
    echo "{\"id\": \"r\", \"question\": \"$text?\", \"choices\": [\"red\", \"blue\"], \"answer\": 0}" \
        > "$dir/words.jsonl"
    rm -f "$dir/times"
    for round in $(seq "${ROUNDS:-3}"); do
        for c in ${CASES:-alone sweep steps written}; do
            run_round "$c"
        done
    done
    summary
done
