#!/bin/sh
# Signals: exit status 130, nothing under a finished name, and a select that goes on from where it
# was stopped.
set -u
. "$UQM_TESTS/cli/lib.sh"
sets=
for name in mmb oodcv sci seed ai2d; do
    sets="$sets $zoo/data/heldin/$name.jsonl"
done

# stopped SIGNAL SECONDS ARGUMENT...: run, and send the signal so long after it began to listen for
# signals: its handler for SIGTERM, the last, is bit 14 of what it catches.
stopped() {
    signal=$1 seconds=$2
    shift 2
    status=0
    (cd "$work" && exec "$uqmerge" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null) &
    pid=$!
    until grep -q '^SigCgt:.*[4567cdef]...$' /proc/$pid/status 2> /dev/null; do
        kill -0 $pid 2> /dev/null || break
        sleep 0.05
    done
    sleep "$seconds"
    kill -"$signal" $pid 2> /dev/null
    wait $pid 2> /dev/null || status=$?
    pid=
}
pid=
trap '[ "$pid" ] && kill -KILL $pid 2> /dev/null; rm -rf "$work"' EXIT

now() {
    date +%s.%N
}

# shellcheck disable=SC2086
for signal in INT TERM; do
    stopped $signal 1 uq "$zoo/models/base" "$zoo/models/reason" --data $sets --repeats 64 --json
    holds '[ $status = 130 ] && [ ! -s "$work/stdout" ] &&
        [ "$(grep "^uqmerge: error: " "$work/stderr")" = "uqmerge: error: uq: interrupted" ]' \
        "SIG$signal ends uq with 130, one error line and no output"
done

# shellcheck disable=SC2086
stopped INT 1 select "$zoo/models/reason" "$zoo/models/know" --data $sets --repeats 64 --out chosen
holds '[ $status = 130 ] && [ ! -e "$work/chosen" ]' 'an interrupted select leaves no finished folder'

# Whole once, for comparison; then stopped until it is done. A stop can come before the first model
# is measured, so the time allowed, a quarter of what the whole took, grows by half each time.
ask() {
    # shellcheck disable=SC2086
    "$@" select "$zoo/models/reason" "$zoo/models/know" --data $sets --samples 24 --repeats 2 \
        --out "$out" --json
}
out=whole
begun=$(now)
ask run
seconds=$(awk -v a="$begun" -v b="$(now)" 'BEGIN { printf "%.3f", (b - a) / 4 }')
holds '[ $status = 0 ]' 'a small select runs through'
whole=$(value steps)
out=pieces
stops=0
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
    ask stopped INT "$seconds"
    [ $status = 130 ] || break
    stops=$((stops + 1))
    seconds=$(awk -v s="$seconds" 'BEGIN { printf "%.3f", s * 1.5 + 0.1 }')
done
holds '[ $status = 0 ] && [ "$(value steps)" = "$whole" ]' \
    'a select that was stopped and run again ends in the same steps'
holds 'cmp -s "$work/whole/model.safetensors" "$work/pieces/model.safetensors"' \
    'and in the same bytes'
echo "# stopped $stops times"
finish
