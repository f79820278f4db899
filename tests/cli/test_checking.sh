#!/bin/sh
# The scripts of docs/checking.md, run by the system's own tools on what the program writes. Each finds
# what was written good, and a byte that was changed.
set -u
. "$UQM_TESTS/cli/lib.sh"
page=$UQM_TESTS/../docs/checking.md

for tool in python3 sha256sum openssl; do
    command -v "$tool" > /dev/null || { echo "1..0 # SKIP no $tool"; exit 0; }
done

# The indented lines behind the one that begins with `NAME.
script() { # name
    awk -v name="$1" 'index($0, "`" name " ") == 1 { on = 1; next }
        on && /^    / { print substr($0, 5); some = 1; next }
        on && /^$/ { if (some) print ""; next }
        on && some { exit }' "$page" > "$work/$1"
    status=0 found=$work/$1
    holds '[ -s "$found" ]' "the page has $1"
}

# says STATUS TEXT NAME COMMAND...: exit status and a part of what is printed.
says() {
    wanted=$1 text=$2 name=$3
    shift 3
    status=0
    (cd "$work" && "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null) || status=$?
    holds '[ $status = "$wanted" ] && cat "$work/stdout" "$work/stderr" | grep -qF -- "$text"' "$name"
}

skip() { # what is missing, name
    count=$((count + 1))
    echo "ok $count - $2 # SKIP no $1"
}

# A byte of a file is another one.
change() { # file offset
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); b = f.read(1)[0]; f.seek(-1, 1); f.write(bytes([b ^ 1]))' "$work/$1" "$2"
}

for name in tree tensors signature unpack; do
    script "$name.py"
done
cat > "$work/mix.yml" << END
merge_method: linear
models:
  - {model: $zoo/models/reason, parameters: {weight: 0.6}}
  - {model: $zoo/models/know, parameters: {weight: 0.4}}
dtype: float32
END
run merge mix.yml best
holds '[ $status = 0 ]' 'a merge'
says 0 'model.safetensors: OK' 'sha256sum checks a merge' sh -c 'cd best && sha256sum -c SHA256SUMS'
says 0 'model.safetensors OK' 'tree.py finds a merge good' python3 tree.py best
if command -v xxhsum > /dev/null; then
    says 0 'language_model' 'tensors.py finds a merge good' python3 tensors.py best
    kept=$(sed -n 's/.*"xxh3_128": *"\([0-9a-f]*\)"[^"]*$/\1/p' "$work/best/uqmerge.manifest.json" | tail -n 1)
    sed -n "/^    python3 -c/,/xxhsum/p" "$page" > "$work/self.sh"
    says 0 "$kept" "the manifest's own digest is xxhsum's" sh self.sh
else
    skip xxhsum 'tensors.py finds a merge good'
fi

(cd "$work" && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out key.pem &&
    openssl pkey -in key.pem -pubout -out key.pub.pem) 2> "$work/stderr"
run sign best --key key.pem
says 0 'SHA256SUMS' 'signature.py takes a signature apart' \
    sh -c 'python3 signature.py best/model.sig it && cat it.sums'
says 0 'Verified OK' 'openssl finds the signature good' \
    openssl dgst -sha256 -verify key.pub.pem -signature it.sig it.message
says 0 'SHA256SUMS: OK' 'sha256sum finds the signed files good' sh -c 'cd best && sha256sum -c ../it.sums'
change it.message 100
says 1 'failure' 'openssl finds another message bad' \
    openssl dgst -sha256 -verify key.pub.pem -signature it.sig it.message

# Folders in folders, a file without bytes, one that is executable, words of 1, 2 and 4 bytes.
mkdir -p "$work/best/deep/er"
: > "$work/best/deep/er/nothing"
cp "$zoo/models/know/model.safetensors" "$work/best/deep"
cp "$zoo/models/know/config.json" "$work/best/deep/run"
chmod +x "$work/best/deep/run"
if command -v zstd > /dev/null || python3 -c 'import zstandard' 2> /dev/null; then
    run pack best best.uqz
    says 0 'deep/run OK' 'unpack.py unpacks an archive' python3 unpack.py best.uqz plain
    holds 'diff -r "$work/best" "$work/plain" && [ -x "$work/plain/deep/run" ] &&
        [ ! -x "$work/plain/config.json" ]' 'every byte of it'
    # A fine-tune is stored as what it differs by.
    run pack "$zoo/models/reason" delta.uqz --delta-from "$zoo/models/base"
    says 0 'model-00002-of-00002.safetensors OK' 'unpack.py unpacks a delta' \
        python3 unpack.py delta.uqz tuned "$zoo/models/base"
    holds 'diff -r "$zoo/models/reason" "$work/tuned"' 'every byte of it, too'
    says 1 'model-00001-of-00002.safetensors differs' 'unpack.py finds another base' \
        python3 unpack.py delta.uqz wrong "$zoo/models/know"
else
    skip zstd 'unpack.py unpacks an archive'
fi

change best/model.safetensors 1000000
says 1 'model.safetensors: FAILED' 'sha256sum finds a changed byte' \
    sh -c 'cd best && sha256sum -c SHA256SUMS'
says 1 'model.safetensors DIFFERS' 'tree.py finds a changed byte' python3 tree.py best
if command -v xxhsum > /dev/null; then
    says 1 'DIFFERS' 'tensors.py finds a changed byte' python3 tensors.py best
fi
change best/model.safetensors 1000000
change best/uqmerge.leaves 5
says 1 'model.safetensors DIFFERS' 'tree.py finds a changed leaf' python3 tree.py best
finish
