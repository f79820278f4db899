#!/bin/bash
# Peak resident memory of every merge method at --memory 256M: a base and three models of the 7B
# shapes, four layers, embeddings and head of 262 MB each. One JSON line a method; fails where one
# takes 320 MiB or more.
#
#     benchmarks/memory_of_merges.sh BUILD DIR [--cgroup] [METHOD...]
#
# DIR gets 11 GB of models, which are made if they are not there, and one output at a time.
# --cgroup: each merge runs in a memory cgroup of 400 MiB without O_DIRECT, so that the page cache
# is counted; skipped with a word where no cgroup can be made.
set -u
[ $# -ge 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
build=$1 dir=$2
shift 2
limit_mib=320 cgroup_mib=400 in_cgroup=false direct=auto group=
if [ "${1-}" = --cgroup ]; then
    in_cgroup=true direct=off
    shift
fi
methods=${*:-linear slerp nuslerp multislerp karcher task_arithmetic ties dare_ties dare_linear \
    breadcrumbs breadcrumbs_ties della della_linear model_stock sce nearswap arcee_fusion ram \
    ramplus_tl passthrough}

mkdir -p "$dir" || exit 1
for k in 0 1 2 3; do
    [ -e "$dir/m$k/config.json" ] && continue
    "$build/tools/uqm-make-checkpoint" "$dir/m$k" --layout llama --layers 4 --dtype bf16 \
        --seed "$k" -q || exit 1
done

# The recipe of a method, on standard output.
recipe() {
    local n=3 base=true per= all=
    case $1 in
    linear | karcher | multislerp) base=false ;;
    nuslerp) base=false n=2 ;;
    slerp | nearswap | arcee_fusion) n=1 ;;
    passthrough) base=false n=1 ;;
    esac
    case $1 in
    slerp) all='t: 0.4' ;;
    nearswap) all='t: 0.001' ;;
    sce) all='select_topk: 0.5' ;;
    breadcrumbs*) per='weight: 0.4, density: 0.5, gamma: 0.01' ;;
    della*) per='weight: 0.4, density: 0.5, epsilon: 0.15' ;;
    ties | dare*) per='weight: 0.4, density: 0.5' ;;
    linear | nuslerp | multislerp | task_arithmetic) per='weight: 0.4' ;;
    esac
    echo "merge_method: $1"
    $base && echo "base_model: $dir/m0"
    echo "models:"
    for k in $(seq "$n"); do
        echo "  - model: $dir/m$k"
        [ -z "$per" ] || echo "    parameters: {$per}"
    done
    [ -z "$all" ] || echo "parameters: {$all}"
}

# A cgroup of either version below the one this shell is in; its folder in $group.
make_group() {
    local at root=/sys/fs/cgroup
    at=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    if [ -n "$at" ]; then
        for group in "$root/memory$at/uqmerge-$$" "$root/memory/uqmerge-$$"; do
            mkdir "$group" 2>/dev/null && echo ${cgroup_mib}M >"$group/memory.limit_in_bytes" &&
                return 0
        done
        return 1
    fi
    at=$(sed -n 's/^0:://p' /proc/self/cgroup)
    group="$root$at/uqmerge-$$"
    mkdir "$group" 2>/dev/null && echo ${cgroup_mib}M >"$group/memory.max"
}

if $in_cgroup && ! make_group 2>/dev/null; then
    echo "no memory cgroup can be made here: skipped" >&2
    exit 77
fi
trap 'rm -rf "$dir/out" "$dir/r.yml"; [ -z "$group" ] || rmdir "$group"' EXIT

failed=0
for m in $methods; do
    recipe "$m" >"$dir/r.yml"
    rm -rf "$dir/out"
    result=$(
        $in_cgroup && echo $BASHPID >"$group/cgroup.procs"
        exec "$build/tools/uqmerge" merge "$dir/r.yml" "$dir/out" --memory 256M --seed 1 \
            --direct $direct --json -q
    )
    status=$?
    peak=$(sed -n 's/.*"peak_memory": *\([0-9]*\).*/\1/p' <<<"$result")
    seconds=$(sed -n 's/.*"seconds": *\([0-9.]*\).*/\1/p' <<<"$result")
    mib=$((${peak:-0} / 1048576))
    ok=true
    [ $status -eq 0 ] && [ -n "$peak" ] && [ $mib -lt $limit_mib ] || { ok=false failed=1; }
    echo "{\"bench\":\"merge_memory\",\"case\":\"$m\",\"cgroup\":$in_cgroup,\"peak_mib\":$mib," \
        "\"seconds\":${seconds:-null},\"exit\":$status,\"ok\":$ok}"
done
exit $failed
