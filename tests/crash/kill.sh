#!/bin/sh
# SIGKILL (or $UQM_SIGNAL: TERM, INT) at random moments: whatever is killed is run again, and ends in the bytes of a run that was
# left in peace; a finished name never holds anything else. Prints TAP, and figures as comments.
#
#   kill.sh UQMERGE UQM-MAKE-CHECKPOINT KILLS MEGABYTES [SEED [COMMAND...]]
#
# KILLS: of every command. MEGABYTES: of all inputs together. COMMAND: merge, many, overwrite, select,
# pack, unpack, convert, sign; the default is what this program knows of them. In $TMPDIR, which needs five times the
# inputs' room; that of a memory disk is quickest.
set -u
uqmerge=$(realpath "$1")
make=$(realpath "$2")
kills=$3 megabytes=$4 seed=${5:-1} signal=${UQM_SIGNAL:-KILL}
[ $# -gt 5 ] && shift 5 || set --
work=$(mktemp -d "${TMPDIR:-/tmp}/uqm-kill.XXXXXX")
pid=
trap '[ "$pid" ] && kill -KILL "$pid" 2> /dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
ln -s "$(realpath "$UQM_ZOO")" zoo # arguments are words, and such a path may have blanks
ln -s "$(realpath "$UQM_ZOO/../data/signature/keys")" keys
count=0 draws=0

verdict() { # why not (empty: all is well), name
    count=$((count + 1))
    if [ "$1" ]; then
        echo "not ok $count - $2"
        echo "# $1"
        sed 's/^/# stderr: /' "$work/stderr" | tail -n 5
    else
        echo "ok $count - $2"
    fi
}

# A random number of [0, 1), times $1.
random() {
    draws=$((draws + 1))
    awk -v seed="$seed" -v n=$draws -v most="$1" \
        'BEGIN { srand(seed * 7919 + n); rand(); rand(); printf "%.3f", rand() * most }'
}

now() {
    date +%s.%N
}

# --- inputs ---

# Two models of half the megabytes each: all layers alike, about 5.2 MB each.
make_inputs() {
    layers=$((megabytes * 10 / 105))
    [ $layers -gt 0 ] || layers=1
    for k in 1 2; do
        "$make" m$k --seed $k --layers $layers --hidden 512 --inner 1024 --heads 8 --vocab 1024 \
            --vision-layers 2 --vision-hidden 64 --vision-inner 128 --vision-heads 4 \
            --image-size 56 --shard-size 30M --tokenizer zoo/models/base -q > stdout 2> stderr ||
            { verdict "no model: $(cat stderr)" 'the inputs are made'; exit 1; }
    done
    printf 'merge_method: linear\nmodels:\n  - {model: m1, parameters: {weight: 1}}\n' > a.yml
    printf '  - {model: m2, parameters: {weight: 3}}\n' >> a.yml
    printf 'merge_method: dare_ties\nbase_model: m1\nmodels:\n' > b.yml
    printf '  - {model: m2, parameters: {weight: 0.5, density: 0.6}}\n' >> b.yml
    echo "# inputs: $(du -cm m1 m2 | tail -n 1 | cut -f 1) MB in two models"
}

# --- commands: what is run in the folder $1, whose result is $1/out ---

arguments() { # command folder
    case $1 in
    merge) echo "merge a.yml $2/out --out-shard-size 20M" ;;
    overwrite) echo "merge b.yml $2/out --out-shard-size 20M --overwrite" ;;
    many) echo "merge a.yml b.yml $2/out --out-shard-size 20M" ;;
    select) echo "select m1 m2 --data zoo/data/heldin/mmb.jsonl --samples 1 --repeats 2
        --out $2/out" ;;
    pack) echo "pack m1 $2/out.uqz" ;;
    unpack) echo "unpack packed.uqz $2/out" ;;
    convert) echo "convert m1 $2/out --to llava --out-shard-size 20M" ;;
    sign) echo "sign $2/out --key keys/p256.pem" ;;
    esac
}

knows() {
    case $1 in
    many | overwrite) true ;;
    *) "$uqmerge" --help | grep -q "^  $1 " ;;
    esac
}

same() {
    diff -r "$1" "$2" > difference 2>&1
}

# What stands under the finished name is whole: nothing, the new output, or for overwrite the old.
check_name() { # command
    case $1 in
    many) # a folder, made at once, that gets one for each recipe
        for name in a b; do
            [ ! -e run/out/$name ] || same whole-$1/out/$name run/out/$name || return 1
        done ;;
    overwrite) same whole-$1/out run/out || same whole-merge/out run/out ;;
    sign) [ ! -e run/out/model.sig ] || is_done sign ;;
    *) [ ! -e "$(result $1 run)" ] || is_done $1 ;;
    esac
}

result() { # command folder
    case $1 in
    pack) echo "$2/out.uqz" ;;
    *) echo "$2/out" ;;
    esac
}

# No two signatures are the same bytes: each must hold, whatever a killed run left beside it.
is_signed() {
    [ ! -e run/out/model.sig.part ] || mv run/out/model.sig.part aside
    "$uqmerge" verify run/out --public-key keys/p256.pub.pem -q > difference 2>&1
    signed=$?
    [ ! -e aside ] || mv aside run/out/model.sig.part
    return $signed
}

is_done() { # command
    if [ $1 = sign ]; then
        is_signed
        return
    fi
    same "$(result $1 whole-$1)" "$(result $1 run)"
}

# --- one command ---

prepare() { # command folder
    mkdir "$2"
    case $1 in
    overwrite) cp -r whole-merge/out "$2/out" ;;
    sign) cp -r m1 "$2/out" ;;
    esac
}

whole() { # command
    prepare $1 whole-$1
    begun=$(now)
    # shellcheck disable=SC2046
    "$uqmerge" $(arguments $1 whole-$1) --sync-every 1M -q > stdout 2> stderr || return 1
    seconds=$(awk -v a="$begun" -v b="$(now)" 'BEGIN { printf "%.3f", b - a }')
    [ $1 != overwrite ] || ! same whole-merge/out whole-$1/out # else nothing would be seen
}

# One run, killed after a while or, with "", left in peace. $status: what it ended with, or `stopped`.
one_run() { # command delay
    # shellcheck disable=SC2046
    "$uqmerge" $(arguments $1 run) --sync-every 1M --json -q > stdout 2> stderr < /dev/null &
    pid=$!
    if [ "$2" ]; then
        sleep "$2"
        kill -$signal $pid 2> /dev/null
    fi
    status=0
    wait $pid 2> /dev/null || status=$?
    pid=
    case $status in
    130 | 137 | 143) status=stopped ;; # 143: before the program heard of it
    esac
}

# Why the run that has just ended is not as it should be; empty: it is.
judge() { # command
    if ! check_name $1; then
        echo "the finished name holds something else: $(head -n 3 difference)"
    elif [ $status = stopped ] || { [ "$was_done" ] && grep -q 'exists already' stderr; }; then
        : # killed; or the kill before came with nothing left to do but tidying up
    elif [ $status != 0 ]; then
        echo "exit status $status"
    elif ! is_done $1; then
        echo "another result: $(head -n 3 difference)"
    elif left_over; then
        echo "left behind: $(ls -A run)"
    fi
}

# From a fresh folder to the end, killed up to so many times on the way.
one_case() { # command kills
    rm -rf run
    prepare $1 run
    left=$2 status=stopped
    while [ $status = stopped ] && [ ! "$why" ]; do
        was_done=
        is_done $1 && was_done=1
        delay=
        [ $left -gt 0 ] && delay=$(random "$seconds")
        one_run $1 "$delay"
        runs=$((runs + 1)) left=$((left - 1))
        [ $status = stopped ] && n=$((n + 1))
        [ "$was_done" ] && [ $status != stopped ] && late=$((late + 1))
        grep -q '"resumed": *true' stdout && resumed=$((resumed + 1))
        why=$(judge $1)
    done
    cases=$((cases + 1))
}

kill_and_resume() { # command
    n=0 runs=0 cases=0 resumed=0 late=0 why=
    while [ $n -lt "$kills" ] && [ ! "$why" ]; do
        most=$(random 4)
        most=$((1 + ${most%.*}))
        [ $most -le $((kills - n)) ] || most=$((kills - n))
        before=$n
        one_case $1 $most
        [ $n -gt $before ] || # it is quicker than it was: stop it sooner
            seconds=$(awk -v s="$seconds" 'BEGIN { printf "%.3f", s * 0.7 }')
    done
    verdict "${why:+after $n kills: $why}" \
        "$1: SIG$signal $n times, every run ends in the bytes of an unbroken one"
    echo "# $1: $n kills in $runs runs of $seconds s unbroken, $cases times to the end: $resumed of"
    echo "#   these from a journal, $late with the output standing already"
}

left_over() {
    find run -name '*.part' | grep -q .
}

make_inputs
[ $# -gt 0 ] || for command in merge many overwrite select pack unpack convert sign; do
    knows $command && set -- "$@" $command
done
started=$(now)
for command in "$@"; do
    [ $command != overwrite ] || [ -d whole-merge ] || whole merge
    [ $command != unpack ] || [ -e packed.uqz ] || "$uqmerge" pack m1 packed.uqz -q > stdout
    if whole $command; then
        kill_and_resume $command
    else
        verdict 'it fails' "$command: an unbroken run"
    fi
done
echo "# $(awk -v a="$started" -v b="$(now)" 'BEGIN { printf "%.0f", b - a }') s in all"
echo "1..$count"
