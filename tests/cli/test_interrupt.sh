#!/bin/sh
# Signals: exit status 130, nothing under a finished name, and a select that goes on from where it
# was stopped.
set -u
. "$UQM_TESTS/cli/lib.sh"
sets=
for name in mmb oodcv sci seed ai2d; do
    sets="$sets $zoo/data/heldin/$name.jsonl"
done

# stopped SIGNAL SECONDS ARGUMENT...: run, and send the signal after so long.
stopped() {
    signal=$1 seconds=$2
    shift 2
    status=0
    (cd "$work" && timeout --preserve-status -k 60 -s "$signal" "$seconds" "$uqmerge" "$@" \
        > "$work/stdout" 2> "$work/stderr" < /dev/null) || status=$?
}

# shellcheck disable=SC2086
for signal in INT TERM; do
    stopped $signal 1.5 uq "$zoo/models/base" "$zoo/models/reason" --data $sets --repeats 64 --json
    holds '[ $status = 130 ] && [ ! -s "$work/stdout" ] &&
        [ "$(grep "^uqmerge: error: " "$work/stderr")" = "uqmerge: error: uq: interrupted" ]' \
        "SIG$signal ends uq with 130, one error line and no output"
done

# shellcheck disable=SC2086
stopped INT 2 select "$zoo/models/reason" "$zoo/models/know" --data $sets --repeats 64 --out chosen
holds '[ $status = 130 ] && [ ! -e "$work/chosen" ]' 'an interrupted select leaves no finished folder'

# Whole once, for comparison; then stopped until it is done. A stop can come before the first model
# is measured, so the time allowed grows: by half each time, for machines that are slow or busy.
ask() {
    # shellcheck disable=SC2086
    "$@" select "$zoo/models/reason" "$zoo/models/know" --data $sets --samples 24 --repeats 2 \
        --out "$out" --json
}
out=whole
ask run
holds '[ $status = 0 ]' 'a small select runs through'
whole=$(value steps)
out=pieces
seconds=1
stops=0
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
    ask stopped INT $seconds
    [ $status = 130 ] || break
    stops=$((stops + 1))
    seconds=$((seconds + 1 + seconds / 2))
done
holds '[ $status = 0 ] && [ "$(value steps)" = "$whole" ]' \
    'a select that was stopped and run again ends in the same steps'
holds 'cmp -s "$work/whole/model.safetensors" "$work/pieces/model.safetensors"' \
    'and in the same bytes'
echo "# stopped $stops times"
finish
