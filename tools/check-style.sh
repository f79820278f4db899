#!/bin/sh
# The style that a machine can check, as TAP: clang-format 14 (.clang-format), no file of the
# program over 800 lines, no line over 100 columns. Exit status 77 (skipped) without clang-format 14.
#   check-style.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

formatter=
for name in clang-format-14 clang-format; do
    if command -v "$name" > /dev/null && "$name" --version | grep -q 'version 14\.'; then
        formatter=$name
        break
    fi
done
[ "$formatter" ] || exit 77

sources=$(find src io compute tools tests benchmarks -path tests/zoo -prune -o -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print | LC_ALL=C sort)

n=0
verdict() { # what was found (empty: nothing), name
    n=$((n + 1))
    if [ "$1" ]; then
        echo "$1" | head -n 40 | sed 's/^/# /'
        echo "not ok $n - $2"
    else
        echo "ok $n - $2"
    fi
}

# shellcheck disable=SC2086
verdict "$("$formatter" --dry-run $sources 2>&1 | grep -o '^[^: ]*:[0-9]*:.*warning' |
    sed 's/:.*//' | sort | uniq -c || true)" 'sources are formatted as .clang-format says'
# shellcheck disable=SC2086
verdict "$(awk 'FNR == 801 { print FILENAME }' $sources)" 'no source is longer than 800 lines'
# shellcheck disable=SC2086
verdict "$(LC_ALL=C.UTF-8 awk 'length($0) > 100 { print FILENAME ":" FNR }' $sources)" \
    'no line is longer than 100 columns'
echo "1..$n"
