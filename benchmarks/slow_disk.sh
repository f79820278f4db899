#!/bin/sh
# Merging from archives beside raw files where the disk is slow: a cgroup holds reads of the disk
# that WORK_DIR is on to so many MB a second. Cold cache, in turn. Wall and CPU seconds.
# As root; cgroup v1 (blkio) or v2 (io). WORK_DIR is one that archive.sh has filled.
#   slow_disk.sh BUILD_DIR WORK_DIR [ROUNDS [MB_A_SECOND...]]
set -eu
uqmerge=$(cd "$1" && pwd)/tools/uqmerge work=$2 rounds=${3:-5}
[ $# -gt 3 ] && shift 3 || set -- 100 200
cd "$work"
disk=$(lsblk -no MAJ:MIN "$(df --output=source . | tail -n 1)" | tr -d ' ')

if [ -d /sys/fs/cgroup/blkio ]; then
    group=/sys/fs/cgroup/blkio/uqmerge-slow
    limit() { echo "$disk $1" > "$group/blkio.throttle.read_bps_device"; }
else
    group=/sys/fs/cgroup/uqmerge-slow
    limit() { echo "$disk rbps=$1" > "$group/io.max"; }
fi
mkdir -p "$group"
trap 'rmdir "$group"' EXIT

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for rate in "$@"; do
        limit $((rate * 1000000))
        for kind in raw packed; do
            rm -rf out-slow
            sync
            echo 3 > /proc/sys/vm/drop_caches
            sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" \
                /usr/bin/time -f "$rate MB/s, $kind: %e s wall, %U + %S s CPU" \
                "$uqmerge" merge "$kind.yml" out-slow --memory 256M -q > /dev/null
        done
    done
done
