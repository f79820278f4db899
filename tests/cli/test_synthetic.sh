#!/bin/sh
# Synthetic checkpoints: readable in every layout, the same bytes from the same seeds.
#   test_synthetic.sh UQMERGE JSON_GET UQM-MAKE-CHECKPOINT
set -u
. "$UQM_TESTS/cli/lib.sh"
make=$(realpath "$3")
shape='--layers 2 --hidden 64 --inner 160 --heads 4 --kv-heads 2 --vocab 1024 --vision-layers 2
--vision-hidden 32 --vision-inner 64 --vision-heads 4 --image-size 56'

make() { # name option...
    status=0
    # shellcheck disable=SC2086
    (cd "$work" && name=$1 && shift && "$make" "$name" $shape "$@") > "$work/stdout" \
        2> "$work/stderr" || status=$?
}

make one --seed 1 --tokenizer "$zoo/models/base"
holds '[ $status = 0 ] && [ -f "$work/one/tokenizer.model" ] && [ ! -e "$work/one.part" ]' \
    'a checkpoint is made'
make same --seed 1
holds 'cmp -s "$work/one/model.safetensors" "$work/same/model.safetensors"' \
    'the same seed gives the same bytes'
make two --seed 2 --shard-size 100K --tokenizer "$zoo/models/base"
holds '[ $status = 0 ] && [ -f "$work/two/model.safetensors.index.json" ]' 'shards have an index'
make one
holds '[ $status = 1 ] && grep -q "exists already" "$work/stderr"' 'nothing is written over'
make bad --heads 3
holds '[ $status = 2 ] && [ ! -e "$work/bad" ]' 'a shape that cannot be is refused'

run inspect one --json
holds '[ $status = 0 ] && [ "$(value layout)" = llava-hf ] && [ "$(value "tensors.#")" = 64 ]' \
    'inspect reads it'
tower=$(value parts.vision.digest)
language=$(value parts.language.digest)
run inspect two --json
holds '[ "$(value parts.vision.digest)" = "$tower" ] &&
    [ "$(value parts.language.digest)" != "$language" ]' 'equal towers, different decoders'
for layout in llava llama; do
    for dtype in bf16 f32; do
        make "$layout-$dtype" --layout $layout --dtype $dtype
        run inspect "$layout-$dtype" --json
        holds '[ $status = 0 ] && [ "$(value layout)" = $layout ]' "inspect reads $layout in $dtype"
    done
done
run uq one two --data "$zoo/data/heldin/mmb.jsonl" --samples 2 --repeats 2 --json
holds '[ $status = 0 ] && [ "$(value models.0.datasets.0.skipped)" = 0 ]' \
    'the network runs on two of them'
finish
