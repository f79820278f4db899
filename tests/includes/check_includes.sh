#!/bin/sh
# The arrows of inclusion (docs/architecture.md): which folder may include which. Prints TAP.
#   check_includes.sh ROOT
set -eu

# folder: the folders its sources and headers may include besides itself and src/uqmerge.h.
arrows='
src/base:
io: src/base
compute: src/base shaders
src/format: src/base
src/archive: src/format src/base io compute
src/checkpoint: src/archive src/format src/base io compute
src/pack: src/checkpoint src/archive src/format src/base io compute
src/model: src/checkpoint src/archive src/format src/base io compute
src/merge: src/model src/checkpoint src/archive src/format src/base io compute
src/convert: src/merge src/model src/checkpoint src/archive src/format src/base io compute
src/uq: src/merge src/model src/checkpoint src/archive src/format src/base io compute
src/study: src/uq src/merge src/model src/checkpoint src/archive src/format src/base io compute
src: src/convert src/pack src/study src/uq src/merge src/model src/checkpoint src/archive src/format src/base io compute
tools:
'

# Every include of a folder's own files that its arrow does not allow: "FILE:LINE: TARGET".
violations() { # root folder allowed...
    root=$1 folder=$2
    shift 2
    # "src" means the files that lie in it, not its folders.
    depth=
    [ "$folder" = src ] && depth='-maxdepth 1'
    [ -d "$root/$folder" ] || return 0
    # shellcheck disable=SC2086
    (cd "$root" && find "$folder" $depth -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \
        -o -name '*.cpp' -o -name '*.inc' \) | LC_ALL=C sort) |
    while IFS= read -r file; do
        awk -v file="$file" -v allowed="$folder $*" '
            BEGIN { n = split(allowed, folders, " ") }
            /^[ \t]*#[ \t]*include[ \t]*["<]/ {
                system_include = /include[ \t]*</
                target = $0
                sub(/^[^"<]*["<]/, "", target)
                sub(/[">].*/, "", target)
                if (system_include && target !~ /^(src|io|compute|tools|tests|benchmarks)\//)
                    next
                if (target == "src/uqmerge.h")
                    next
                ours = target
                if (!sub(/\/[^\/]*$/, "", ours))
                    ours = "(not from the root)"
                for (i = 1; i <= n; i++)
                    if (ours == folders[i] || (folders[i] != "src" && index(ours, folders[i] "/") == 1))
                        next
                print file ":" FNR ": " target
            }' "$root/$file"
    done
}

count=0
verdict() { # ok? name
    count=$((count + 1))
    if [ "$1" = yes ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
    fi
}

# The check itself, on a made-up tree.
expect() { # yes|no folder line name
    made=$(mktemp -d)
    mkdir -p "$made/$2"
    printf '%s\n' '/* made up */' "$3" > "$made/$2/made_up.c"
    allowed=$(echo "$arrows" | sed -n "s|^$2:||p")
    # shellcheck disable=SC2086
    found=$(violations "$made" "$2" $allowed)
    rm -rf "$made"
    if [ "$1" = no ] && [ "$found" = "" ]; then
        verdict no "$4"
    elif [ "$1" = yes ] && [ "$found" != "" ]; then
        verdict no "$4"
    else
        verdict yes "$4"
    fi
}

root=$1
expect no io '#include "src/merge/open.h"' 'the check sees io reach for src/merge'
expect no compute '#  include "io/stream.h"' 'the check sees compute reach for io'
expect no src/format '#include "io/file.h"' 'the check sees src/format reach for io'
expect no src/model '#include "src/uq/score.h"' 'the check sees src/model reach for src/uq'
expect no src/merge '#include <src/uq/score.h>' 'the check sees through angle brackets'
expect no tools '#include "src/base/err.h"' 'the check sees tools reach past the public header'
expect no src/base '#include "err.h"' 'the check wants paths from the root'
expect yes tools '#include "src/uqmerge.h"' 'the check lets the public header pass'
expect yes src/uq '#include "src/merge/open.h"' 'the check lets an allowed arrow pass'
expect yes io '#include <sys/stat.h>' 'the check lets the system pass'

while IFS=: read -r folder allowed; do
    [ "$folder" ] || continue
    # shellcheck disable=SC2086
    found=$(violations "$root" "$folder" $allowed)
    [ "$found" ] && echo "$found" | sed 's/^/# /'
    verdict "$([ "$found" ] && echo no || echo yes)" "$folder includes only what its arrows allow"
done <<EOF
$arrows
EOF

# A backtrace needs no path: file names are unique over the program.
twice=$(cd "$root" && find src io compute tools -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) |
    sed 's|.*/||' | LC_ALL=C sort | uniq -d)
[ "$twice" ] && echo "$twice" | sed 's/^/# /'
verdict "$([ "$twice" ] && echo no || echo yes)" 'no two files of the program share a name'

echo "1..$count"
