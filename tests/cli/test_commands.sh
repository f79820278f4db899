#!/bin/sh
# Every command on the zoo: results, exit codes, one JSON document, one error line.
set -u
. "$UQM_TESTS/cli/lib.sh"
base=$zoo/models/base
mmb=$zoo/data/heldin/mmb.jsonl
seed=$zoo/data/heldin/seed.jsonl

# --- inspect
run inspect "$base"
holds '[ $status = 0 ] && grep -q "llava-hf" "$work/stdout" && grep -q "^vision" "$work/stdout"' \
    'inspect shows layout and parts'
run inspect --tensors "$base"
holds '[ $status = 0 ] && grep -q "^language_model.lm_head.weight .*\[1024, 128\]" "$work/stdout"' \
    'inspect --tensors lists them'
run inspect --json "$base"
holds '[ $status = 0 ] && [ "$(value layout)" = llava-hf ] && [ "$(value "tensors.#")" = 132 ]' \
    'inspect --json is one document with every tensor'
digest=$(value parts.vision.digest)
for model in models/dense models/textonly models-original/llava-mini-know; do
    run inspect --json "$zoo/$model"
    holds '[ $status = 0 ] && [ "$(value parts.vision.digest)" = "$digest" ]' \
        "the frozen tower of $model shows the digest of base's"
done
refuses 1 absent 'inspect names a missing path' inspect "$work/absent"
mkdir "$work/empty"
refuses 1 empty 'inspect names a folder without weights' inspect empty
head -c 1000 "$base/model.safetensors" > "$work/cut.safetensors"
refuses 1 cut.safetensors 'inspect names a truncated file' inspect cut.safetensors

# --- diff
run diff "$base" "$base" --exit-code --json
holds '[ $status = 0 ] && [ "$(value identical)" = 132 ] && [ "$(value changed)" = 0 ]' \
    'a checkpoint does not differ from itself'
run diff "$base" "$zoo/models/reason" --json
holds '[ $status = 0 ] && [ "$(value changed)" -gt 0 ] && [ "$(value identical)" -gt 0 ]' \
    'a difference without --exit-code exits with 0'
run diff "$base" "$zoo/models/reason" --exit-code -q
holds '[ $status = 3 ] && grep -q "changed" "$work/stdout" && [ ! -s "$work/stderr" ]' \
    'a difference with --exit-code exits with 3'

# --- merge, verify
cat > "$work/two.yml" <<EOF
merge_method: linear
models:
  - model: $zoo/models/reason
    parameters: {weight: 1.0}
  - model: $zoo/models/know
    parameters: {weight: 1.0}
dtype: float16
EOF
run merge two.yml two --dry-run --json
holds '[ $status = 0 ] && [ "$(value "#")" != "!" ] && [ ! -e "$work/two" ]' \
    'a dry run prints a plan and writes nothing'
run merge two.yml two --dry-run
holds '[ $status = 0 ] && [ -s "$work/stdout" ]' 'a dry run prints a plan for people too'
run merge two.yml two --json
holds '[ $status = 0 ] && [ "$(value method)" = linear ] && [ "$(value tensors)" = 132 ] &&
    [ -f "$work/two/uqmerge.manifest.json" ] && [ "$(value bytes_written)" -gt 0 ]' \
    'merge writes a checkpoint with its manifest'
run verify two
holds '[ $status = 0 ]' 'verify accepts it'
keys=$tests/data/signature/keys
run convert "$zoo/models-original/llava-mini-know" own --to llava
holds '[ $status = 0 ] && [ -f "$work/own/model.safetensors" ] && [ ! -e "$work/own/README.md" ]' \
    'convert makes safetensors of PyTorch shards'
run verify own --inputs
holds '[ $status = 0 ]' 'which verify accepts'
run diff "$zoo/models-original/llava-mini-know" own --json
holds '[ "$(value changed)" = 0 ] && [ "$(value identical)" = 67 ] && [ "$(value "only_b.#")" = 0 ]' \
    'and whose tensors are those of the shards'
run convert "$base" own-base --to llava
holds '[ $status = 0 ] && grep -q "1024 rows of the vocabulary become 1000" "$work/stderr"' \
    'convert brings a model into the other layout, and says which rows that costs'
run convert own-base hf-base --to hf -q
holds '[ $status = 0 ] && [ ! -s "$work/stderr" ]' 'and back'
refuses 1 '--vision-tower: within a layout' 'a tower is of no use within a layout' \
    convert "$base" other --to hf --vision-tower "$zoo/models-original/clip-mini"
run convert "$base" gguf --to gguf --dtype q8_0 -q
holds '[ $status = 0 ] && [ "$(head -c 4 "$work/gguf/base-Q8_0.gguf")" = GGUF ]' \
    'convert writes a model and ...'
holds '[ "$(head -c 4 "$work/gguf/mmproj-base-F16.gguf")" = GGUF ]' '... its mmproj as GGUF'
run verify gguf --inputs
holds '[ $status = 0 ]' 'which verify accepts'
run inspect gguf/base-Q8_0.gguf --json
holds '[ "$(value format)" = gguf ] && [ "$(value architecture)" = llama ] && [ "$(value "tensors.#")" = 57 ]' \
    'and inspect reads'
run verify two --tensor language_model.lm_head.weight
holds '[ $status = 0 ] && grep -q "1 tensors" "$work/stdout"' 'verify --tensor checks one'
refuses 1 'has no tensor' 'verify --tensor names one that is not there' verify two --tensor x
run sign two --key "$keys/p521.pem"
holds '[ $status = 0 ] && [ -f "$work/two/model.sig" ]' 'a merge can be signed'
run verify two --public-key "$keys/p521.pub.pem" --inputs
holds '[ $status = 0 ] && grep -q "as it was signed" "$work/stdout"' 'and the signature verified'
run verify two --public-key "$keys/p256.pub.pem"
holds '[ $status = 3 ]' 'another key makes verify exit with 3'
rm "$work/two/model.sig"
run verify two --inputs --json
holds '[ $status = 0 ] && [ "$(value "#")" != "!" ]' 'verify --inputs accepts the inputs'
refuses 1 two 'merge does not write over a finished folder' merge two.yml two
run merge two.yml two --overwrite -q --progress never
holds '[ $status = 0 ] && [ ! -s "$work/stderr" ]' 'with --overwrite it does, quietly if asked'
run merge two.yml again --threads 1 --io pread --direct off --memory 80M
holds '[ $status = 0 ] && cmp -s "$work/two/model.safetensors" "$work/again/model.safetensors"' \
    'threads, engine and memory do not change a byte'
holds 'grep -q "^$zoo/models/reason  *[0-9]" "$work/stdout" && [ -s "$work/again/uqmerge.report.json" ]' \
    'how far each input lies from the result is printed and written'
sed 's/1\.0/2.5/; s/dtype: .*/normalize: true/' "$work/two.yml" | sed '/normalize/d' > "$work/heavy.yml"
run merge two.yml heavy.yml many --json
holds '[ $status = 0 ] && [ -f "$work/many/heavy/uqmerge.manifest.json" ] &&
    cmp -s "$work/two/model.safetensors" "$work/many/two/model.safetensors"' \
    'several recipes are merged to a folder each, as each alone'
run verify many/heavy
holds '[ $status = 0 ]' 'verify accepts one of them'
refuses 1 'as that of two.yml' 'two recipes of one name are refused' merge two.yml ./two.yml other
# One byte of the last tensor.
file=$work/two/model.safetensors
size=$(stat -c %s "$file")
last=$(od -An -tu1 -j $((size - 1)) -N 1 "$file" | tr -d ' ')
printf "\\$(printf %o $((last ^ 1)))" | dd of="$file" bs=1 seek=$((size - 1)) conv=notrunc 2> /dev/null
run verify two
holds '[ $status = 3 ] && [ "$(grep -c "^uqmerge: error: " "$work/stderr")" = 1 ] &&
    grep -q "model.safetensors" "$work/stdout"' 'one flipped byte makes verify exit with 3'
run verify two --json
holds '[ $status = 3 ] && [ "$(value "#")" != "!" ]' 'and its JSON is still one document'
refuses 1 absent 'verify names a missing folder' verify absent
refuses 1 manifest 'verify names a missing manifest' verify "$base"

printf 'merge_method: lineal\nmodels:\n  - model: %s\n' "$base" > "$work/method.yml"
refuses 1 lineal 'an unknown method is named' merge method.yml out
printf 'merge_method: linear\nmodels: [\n' > "$work/grammar.yml"
refuses 1 'grammar.yml:' 'a grammar error names file and line' merge grammar.yml out
sed "s|$zoo/models/know|$work/nowhere|" "$work/two.yml" > "$work/nowhere.yml"
refuses 1 nowhere 'a missing model is named' merge nowhere.yml out
mkdir "$work/damaged"
cp "$base"/*.json "$base/tokenizer.model" "$work/damaged"
head -c 100000 "$base/model.safetensors" > "$work/damaged/model.safetensors"
sed "s|$zoo/models/know|$work/damaged|" "$work/two.yml" > "$work/damaged.yml"
refuses 1 damaged 'a truncated model is named' merge damaged.yml out
refuses 2 'memory: 1M is less than 64M' 'too little memory is said' merge two.yml out --memory 1M
holds '[ ! -e "$work/out" ]' 'none of these left a folder'

# --- ask
picture=$(ls "$zoo"/data/images/*.png | head -n 1)
run ask "$base" --image "$picture" --prompt 'What is this?' --max-tokens 4 --logits --json
holds '[ $status = 0 ] && [ "$(value tokens)" -le 4 ] && [ "$(value "top.#")" -gt 0 ]' \
    'ask answers in JSON, with the first logits'
top=$(value top.0.id) first=$(value top.0.logit) second=$(value top.1.logit) answer=$(value answer)
for model in own-base hf-base; do
    run ask $model --image "$picture" --prompt 'What is this?' --max-tokens 4 --logits --json
    holds '[ "$(value top.0.id)" = "$top" ] && [ "$(value top.0.logit)" = "$first" ] &&
        [ "$(value top.1.logit)" = "$second" ] && [ "$(value answer)" = "$answer" ]' \
        "and the same of the model in the layout of $model"
done
run ask "$work/two.yml" --prompt 'What colour is the sky?' --max-tokens 2
holds '[ $status = 0 ] && [ -s "$work/stdout" ]' 'ask takes a recipe, and no picture'
other=$(ls "$zoo"/data/images/*.png | sed -n 2p)
says() { # ARGUMENTS...: the first logits
    run ask "$@" --max-tokens 4 --logits --json && grep '"logit"' "$work/stdout"
}
both=$(says --image "$picture" --image "$other" "$base" --prompt 'What is this?')
holds '[ "$both" ] && [ "$both" = "$(says "$base" --image "$picture" --image="$other" \
    --prompt "$(printf "<image> <image>\nWhat is this?")")" ]' \
    'ask takes several pictures, for the marks of its prompt or before its text'
holds '[ "$both" != "$(says "$base" --image "$other" --image "$picture" \
    --prompt "What is this?")" ]' 'their order counts'
cp "$picture" "$work/one.png"
cp "$other" "$work/other.png"
echo '{"id":"a","images":["one.png","other.png"],"question":"What is this?","answers":["b"]}' \
    > "$work/pictures.jsonl"
run eval "$base" --data pictures.jsonl --max-new-tokens 4 --trace pictures.said
run ask "$base" --image one.png --image other.png --max-tokens 4 --json --prompt \
    "$(printf 'What is this?\nAnswer the question using a single word or phrase.')"
holds '[ "$(value answer)" ] && grep -qF "\"answer\":\"$(value answer)\"" "$work/pictures.said"' \
    'a question with two pictures has the answer that eval gets'
refuses 2 '2 <image> marks for 1 picture' 'ask counts pictures and marks' \
    ask "$base" --image "$picture" --prompt '<image> <image>'
head -c 500 "$picture" > "$work/cut.png"
refuses 1 cut.png 'ask names a damaged picture' ask "$base" --image cut.png --prompt x
refuses 1 absent.png 'ask names a missing picture' ask "$base" --image absent.png --prompt x
for command in 'ask --prompt x --max-tokens 1' "uq --data $mmb --samples 2" \
    "select $zoo/models/know --no-write --data $mmb --samples 2"; do
    run $command "$base" --vision-tower "$zoo/models-original/clip-mini"
    holds '[ $status = 0 ] && [ "$(grep -c "base: 71 vision tensors give way" "$work/stderr")" = 1 ]' \
        "${command%% *} says once that another vision tower is used"
done

# --- uq
run uq "$base" "$zoo/models/reason" --data "$mmb" "SET=$seed" --samples 4 --repeats 2 --json
holds '[ $status = 0 ] && [ "$(value "models.#")" = 2 ] &&
    [ "$(value models.1.model)" = reason ] && [ "$(value models.0.datasets.1.data)" = SET ] &&
    [ "$(value models.0.datasets.0.samples)" = 4 ]' 'uq measures every model on every set'
holds '[ "$(value bytes_read)" -gt 0 ]' 'it says how many bytes of weights were read'
grep -v "^  \"\(bytes_read\|seconds\)\"" "$work/stdout" > "$work/first.json"
run uq "$base" "$zoo/models/reason" --data "$mmb" "SET=$seed" --samples 4 --repeats 2 --json \
    --threads 1 --io pread --memory 200M
grep -v "^  \"\(bytes_read\|seconds\)\"" "$work/stdout" > "$work/second.json"
holds '[ $status = 0 ] && cmp -s "$work/second.json" "$work/first.json" && grep -q models "$work/first.json"' \
    'threads, engine and memory do not change its JSON, but for what tells of the run'
for command in uq eval 'select --no-write'; do
    run $command "$base" "$zoo/models/reason" --data "$mmb" --samples 4 --dry-run -v --memory 256M --device cpu
    holds '[ $status = 0 ] && grep -q "^2 models, [0-9]* prompts each" "$work/stdout" &&
        grep -q "memory of cpu.*activations [0-9.]* MiB" "$work/stderr" &&
        grep -q "weights being read.*--memory is 256.0 MiB" "$work/stderr"' \
        "$command --dry-run -v says what lies where in memory"
done
long=$(yes 'word and more' | head -n 400 | tr '\n' ' ')
run ask "$base" --prompt "$long" --json
holds '[ $status = 0 ] && [ "$(value prompt_tokens)" = 512 ] &&
    grep -q "warning: --prompt: of its .* reads the first 512" "$work/stderr"' \
    'ask warns of a prompt that the model reads a part of'
{
    printf '{"id": "%s", "image": null, "question": "%s", "choices": ["a", "b"], "answer": 0}\n' \
        a short b "$long"
} > "$work/long.jsonl"
run eval "$base" "$base" --data long.jsonl
holds '[ $status = 0 ] && [ "$(grep -c "long.jsonl:2: record b: its prompt is cut off" "$work/stderr")" = 1 ]' \
    'eval warns of the first record that is not read to its end, once'
refuses 1 'long.jsonl:2: record b: its prompt is cut' 'with --strict that is an error' \
    eval "$base" --data long.jsonl --strict

run ask "$base" --prompt x --dry-run -v --device cpu
holds '[ $status = 0 ] && grep -q "keys and values" "$work/stderr" &&
    grep -q "nothing was asked" "$work/stdout"' 'ask --dry-run -v says what its cache takes'
run uq --data "$mmb" "$base" --samples 3 --repeats 2 --perturb none --trace trace.jsonl
holds '[ $status = 0 ] && grep -q "^base .*mmb .*0.000000" "$work/stdout" && [ -s "$work/trace.jsonl" ]' \
    'without perturbation there is no uncertainty; the trace is written; a folder ends --data'
for options in '--repeats 1' '--perturb none' '--perturb model --dropout 0'; do
    run uq "$base" --data "$mmb" --samples 2 $options
    holds '[ $status = 0 ] && grep -q "warning: every uncertainty will be 0" "$work/stderr"' \
        "uq warns that $options measures nothing"
done
refuses 1 'every uncertainty will be 0, whatever the models are: each record is asked once' \
    'with --strict that is an error' uq "$base" --data "$mmb" --repeats 1 --strict
printf '{"id":"a","image":null,"question":"q","choices":["x","y"]}\n' > "$work/text.jsonl"
refuses 1 'only pictures are perturbed, and there are none' 'so are perturbed pictures where none is' \
    uq "$base" --data text.jsonl --perturb image --strict
refuses 1 'every uncertainty will be 0' 'select warns of it, too' \
    select "$base" "$zoo/models/reason" --data "$mmb" --no-write --perturb none --strict
for options in '--samples 4 --perturb text --repeats 2' '--samples 40 --method cp' \
    '--samples 4 --perturb image,model --dropout 0 --repeats 2'; do
    run uq "$base" --data "$mmb" $options --strict
    holds '[ $status = 0 ]' "$options measures something"
done
printf '{"id":"a","image":null,"choices":["x","y"],"answer":0}\n' > "$work/no-question.jsonl"
refuses 1 no-question.jsonl 'a record without a question is named' uq "$base" --data no-question.jsonl
printf '{"id":"a","image":null,\n' > "$work/broken.jsonl"
refuses 1 broken.jsonl 'a broken line is named' uq "$base" --data broken.jsonl
refuses 1 absent.jsonl 'a missing set is named' uq "$base" --data absent.jsonl
printf '{"id":"a","image":null,"question":"q","choices":["x","y","z","w"],"answer":0}\n%s\n' \
    '{"id":"b","image":"cut.png","question":"q","choices":["x","y","z","w"],"answer":0}' \
    > "$work/picture.jsonl"
run uq "$base" --data picture.jsonl --repeats 2 --json
holds '[ $status = 0 ] && [ "$(value models.0.datasets.0.skipped)" = 1 ] &&
    [ "$(value models.0.datasets.0.samples)" = 1 ] && grep -q "cut.png" "$work/stderr"' \
    'a picture that does not decode is skipped, counted and named'
run uq "$base" --data picture.jsonl --repeats 2 --trace open.trace
(cd "$work" && "$uqmerge" uq "$base" --data picture.jsonl --repeats 2 --trace closed.trace \
    > "$work/stdout" 2>&- < /dev/null)
holds 'cmp -s "$work/open.trace" "$work/closed.trace"' \
    'what is said on a closed standard error does not go into a file that has got its number'
refuses 1 'picture.jsonl:2: record b: ' 'with --strict it is an error' \
    uq "$base" --data picture.jsonl --repeats 2 --strict

refuses 2 '--task nope: no such task' 'an unknown task is refused where tasks.json decides, too' \
    uq "$base" --data "$mmb" --task nope
refuses 2 "$base: select is given this model twice" 'select refuses a model that stands there twice' \
    select "$base" "$zoo/models/reason" "$base" --data "$mmb" --no-write
ln -s "$base" "$work/alias"
for path in "$base/" "$zoo/data/../models/base" alias; do
    refuses 2 "$path: select is given this model twice" 'by another path, too' \
        select "$base" "$zoo/models/reason" "$path" --data "$mmb" --no-write
done

# --- eval
run eval "$base" --data "$mmb" --samples 6 --json
holds '[ $status = 0 ] && [ "$(value models.0.datasets.0.samples)" = 6 ] &&
    [ "$(value models.0.average)" != "!" ]' 'eval scores a multiple-choice set'
run eval "$base" --data "$zoo/data/heldout/pope.jsonl" --samples 8 --json --trace said.jsonl \
    --data "$mmb"
holds '[ $status = 0 ] && [ "$(value models.0.datasets.0.metric)" = yes_no ] &&
    [ "$(value models.0.datasets.0.samples)" = 8 ] &&
    [ "$(value models.0.datasets.0.yes_ratio)" != "!" ] &&
    [ "$(value models.0.datasets.1.metric)" = accuracy ] &&
    [ "$(grep -c "\"answer\":" "$work/said.jsonl")" = 8 ] &&
    [ "$(grep -c "\"p\":" "$work/said.jsonl")" = 8 ]' \
    'eval asks generation sets and multiple choice at once, and writes down every answer'
run eval "$base" --data "$mmb" --samples 6 --max-new-tokens 4
holds '[ $status = 0 ] && grep -q "no set is answered in words" "$work/stderr"' \
    'eval says that a limit of tokens has no effect on letters'
printf '{"id":"a","question":"Which?","answers":["b"]}\n{"id":"b","question":"Which?"}\n' \
    > "$work/open.jsonl"
run eval "$base" --data open.jsonl --max-new-tokens 1 --json
holds '[ $status = 0 ] && [ "$(value models.0.datasets.0.metric)" = exact_match ] &&
    [ "$(value models.0.datasets.0.samples)" = 1 ] && grep -q "open.jsonl:2: record b" "$work/stderr"' \
    'a record without an answer is left out with a warning'
refuses 1 'open.jsonl:2: record b' 'with --strict that is an error' \
    eval "$base" --data open.jsonl --strict
printf '{"id":"b","question":"Which?"}\n' > "$work/unanswered.jsonl"
refuses 1 'no record has an answer' 'a set without any answer is refused' \
    eval "$base" --data unanswered.jsonl
refuses 1 'open is answered in words' 'uq refuses a generation set' uq "$base" --data open.jsonl
printf '{"id":"a","image":"cut.png","question":"q","answers":["b"]}\n%s\n' \
    '{"id":"b","question":"q","answers":["b"]}' > "$work/cut-open.jsonl"
run eval "$base" --data cut-open.jsonl --max-new-tokens task --json
holds '[ $status = 0 ] && [ "$(value models.0.datasets.0.skipped)" = 1 ] &&
    [ "$(value models.0.datasets.0.samples)" = 1 ] && grep -q "cut.png" "$work/stderr"' \
    'a picture of a generation set that does not decode is skipped, counted and named'
refuses 1 'cut-open.jsonl:1: record a: ' 'with --strict it is an error in a generation set too' \
    eval "$base" --data cut-open.jsonl --strict

# --- experiment
run experiment "$zoo/study.yml" --out study --dry-run --json
holds '[ $status = 0 ] && [ "$(value "waiting.#")" = 15 ] && [ "$(value "tables.#")" = 0 ] &&
    [ "$(value n_jobs.all)" = 150 ] && [ "$(value n_jobs.cached)" = 0 ] && [ ! -e "$work/study" ]' \
    'a dry run of the whole zoo lists three seeds of ten models on five sets, and writes nothing'
mkdir "$work/taken" && echo mine > "$work/taken/file"
refuses 1 "it exists and is no study's folder" 'another folder is not taken for a study' \
    experiment "$zoo/study.yml" --out taken
holds '[ "$(ls "$work/taken")" = file ]' 'and is left as it was'
cat > "$work/small.yml" <<EOF
models: [$zoo/models/reason, $zoo/models/know]
data: {held-in: [$mmb]}
samples: 4
eval_samples: 4
repeats: 2
EOF
run experiment small.yml --out small --only t8 --json
holds '[ $status = 0 ] && [ "$(value n_jobs.cached)" = 0 ] && [ "$(value n_jobs.done)" -gt 8 ] &&
    grep -q "Conformal prediction: each model on each set" "$work/small/index.html" &&
    [ "$(grep -c "^know,mmb,2,2,[0-9]" "$work/small/t8-conformal-sets.csv")" = 1 ]' \
    'experiment shows what the conformal sets of T8 are'
cp "$work/small/t8.json" "$work/t8.json"
run experiment small.yml --out small --only t8 --json
holds '[ $status = 0 ] && [ "$(value n_jobs.done)" = 0 ] && cmp -s "$work/small/t8.json" "$work/t8.json"' \
    'and asks nothing a second time'
# --- select
run select "$zoo/models/reason" "$zoo/models/know" "$zoo/models/chat" --data "$mmb" --samples 4 \
    --repeats 2 --out chosen --json
holds '[ $status = 0 ] && [ "$(value "order.#")" = 3 ] && [ "$(value "selected.#")" -ge 1 ] &&
    [ "$(value out)" = chosen ] && [ "$(value steps.0.step)" = 1 ]' 'select decides and writes'
cp "$work/stdout" "$work/chosen.json"
run verify chosen
holds '[ $status = 0 ]' 'verify accepts what it wrote'
run report chosen.json chosen/uqmerge.report.json --out page.html
holds '[ $status = 0 ] && grep -q "Algorithm 1, step by step" "$work/page.html" &&
    grep -q "layer 5</th>" "$work/page.html" && grep -q "^</html>\|</html>$" "$work/page.html"' \
    'report makes a page of a selection and its merge'
run select "$zoo/models/reason" "$zoo/models/know" --data "$mmb" --samples 4 --repeats 2 --no-write \
    --report select.html
holds '[ $status = 0 ] && grep -q "Uncertainty of the merge" "$work/select.html"' \
    'select --report writes the page too'
run select "$zoo/models/reason" "$zoo/models/know" --data "$mmb" --samples 4 --repeats 2 --no-write \
    --all-steps
holds '[ $status = 0 ] && grep -q "^selected" "$work/stdout"' \
    'select --no-write prints the table and writes nothing'
printf '{"id":"a","image":null,"question":"q","choices":["x","y"],"answer":0}\n' > "$work/one.jsonl"
run select "$zoo/models/reason" "$zoo/models/know" --data "$mmb" --samples 8 --perturb none --repeats 1 \
    --no-write --order accuracy-desc --all-steps --json
accuracy=$(printf '%.4f' "$(value steps.1.accuracy)")
holds '[ $status = 0 ] && ! grep -q warning "$work/stderr" &&
    grep -q "^uqmerge: step 2: .*; accuracy $accuracy, standard error 0\.[0-9]*$" "$work/stderr"' \
    'a selection by accuracy tells the accuracy of each step'
run select "$base" "$zoo/models/reason" --data one.jsonl --no-write --order accuracy-asc
holds '[ $status = 0 ] && ! grep -q nan "$work/stderr" && grep -q "standard error -$" "$work/stderr"' \
    'one record has no standard error'
run select "$zoo/models/reason" "$zoo/models/know" --data "$mmb" --samples 8 --perturb none --repeats 1 \
    --no-write --order accuracy-desc --all-steps
holds '[ $status = 0 ] && [ "$(grep -c " accuracy  stderr" "$work/stdout")" = 2 ] &&
    grep -q "^   2  .* $accuracy  0\.[0-9]*  " "$work/stdout"' 'and prints it in its tables'
run select "$zoo/models/reason" "$zoo/models/know" --data "$mmb" --samples 4 --repeats 2 --no-write \
    --report nowhere/select.html
holds '[ $status = 1 ] && ! grep -q uncertainty "$work/stderr" &&
    grep -q "error: nowhere/select.html: its folder: No such file" "$work/stderr"' \
    'a page that cannot be written is refused before anything is asked'
# Recipes and manifests name paths, and are UTF-8: it is said before the work.
odd=$(printf 'odd\377')
cp -r "$zoo/models/reason" "$work/$odd"
for arguments in "merge mix.yml $odd.out" "verify $odd" "pack $odd $odd.uqz" "unpack a.uqz $odd.out" \
    "select $odd $zoo/models/know --data $mmb --out $odd.out" \
    "convert $odd a.out --to hf" "convert $zoo/models/know $odd.out --to gguf" \
    "sign $odd --key $keys/p256.pem"; do
    # shellcheck disable=SC2086
    refuses 1 'a name that is not UTF-8' "${arguments%% *} refuses a name that is not UTF-8" $arguments
done
run uq "$odd" --data "$mmb" --samples 2 --repeats 1 --perturb none --json
holds '[ $status = 0 ] && [ "$(value models.0.model)" = "odd\\xFF" ]' 'uq shows such a name escaped'
printf 'models: [k]\ndata: {held-in: [%s]}\ntables: [t9]\nsamples: 2\nrepeats: 1\n' "$mmb" > "$work/$odd/one.yml"
cp -r "$zoo/models/know" "$work/$odd/k"
run experiment "$odd/one.yml" --out study-of-odd
holds '[ $status = 0 ] && [ -s "$work/study-of-odd/t9.json" ]' 'a study may lie in such a folder'
holds 'grep -q "one.yml: repeats: every uncertainty will be 0" "$work/stderr"' \
    'and is warned of when it asks each record once'
rm -r "$work/$odd/k" "$work/study-of-odd"
run report "$odd/config.json" --out "$odd.html"
holds '[ $status = 1 ] && grep -q "not a result" "$work/stderr"' 'report, too, goes by such a name'
holds '[ -z "$(find "$work" -maxdepth 1 -name "*odd*.*")" ]' 'and leaves nothing there'
cp -r "$zoo/models/reason" "$work/stateful"
for again in first second; do
    run select stateful "$zoo/models/know" --data one.jsonl --repeats 2 --no-write \
        --state stateful/kept.json
done
holds '[ $status = 0 ] && grep -q "going on after 3 finished" "$work/stderr" &&
    [ "$(grep -o "\"kind\"" "$work/stateful/kept.json" | wc -l)" = 3 ]' \
    'a state that lies in one of the models does not make it another model'
mkdir "$work/holder" && cp -r "$zoo/models/reason" "$work/holder/reason"
: > "$work/holder/uqmerge.manifest.json"
refuses 1 'holder: the input holder/reason lies there' 'so is a place with one of the models in it' \
    select holder/reason "$zoo/models/know" --data "$mmb" --out holder --overwrite -q
holds '[ -d "$work/holder/reason" ] && [ ! -e "$work/holder.state.json" ]' 'nothing of it is touched'
mkdir "$work/late.html.part"
run select "$zoo/models/reason" "$zoo/models/know" --data "$mmb" --samples 4 --repeats 2 --no-write \
    --report late.html
holds '[ $status = 1 ] && grep -q "^selected" "$work/stdout" &&
    [ "$(grep -c "^uqmerge: error: late.html" "$work/stderr")" = 1 ]' \
    'a page that fails in the end does not take the selection with it'
finish
