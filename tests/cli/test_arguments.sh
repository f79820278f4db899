#!/bin/sh
# Parsing, help, suggestions and refusals: everything that happens before a file is read.
set -u
. "$UQM_TESTS/cli/lib.sh"

prints help.txt 'the commands are listed' --help
for command in inspect diff merge verify sign convert pack unpack ask uq select eval experiment report \
    devices; do
    prints "help-$command.txt" "$command has a help text" "$command" --help
done
# Both lie where people look for them: UQM_REWRITE=1 writes them anew like the expected texts.
prints ../../../docs/uqmerge.1 'docs/uqmerge.1 is the manual page of this program' --man
prints ../../../docs/uqmerge.bash 'docs/uqmerge.bash is the completion of this program' --completion
prints help-merge.txt 'help wins over mistakes beside it' merge --memroy --help
prints help-uq.txt 'help COMMAND is COMMAND --help' help uq
run --version
holds '[ $status = 0 ] && grep -qx "uqmerge [0-9]*\.[0-9]*\.[0-9]*" "$work/stdout"' \
    'the version is printed'

refuses 2 'no command is given' 'no command is a usage error'
refuses 2 'mrege: no such command; did you mean merge?' 'a mistyped command names the nearest' mrege
refuses 2 'frobnicate: no such command; see' 'a command far from all names none' frobnicate
refuses 2 'mrege: no such command; did you mean merge?' 'so does help for one' help mrege
refuses 2 '--verison: a command comes first; did you mean --version?' \
    'a mistyped flag before any command names the nearest' --verison
refuses 2 'did you mean --memory?' 'a mistyped flag names the nearest' merge --memroy 1G a b
refuses 2 'did you mean --all-steps?' 'the beginning of a flag names it' select m --all-st
refuses 2 'no option --frobnicate; see' 'a flag far from all names none' merge --frobnicate a b
refuses 2 'no option -x' 'an unknown letter is refused' merge -x a b
refuses 2 '--memory: needs a value' 'a flag without its value is refused' merge a b --memory
refuses 2 '--strict: takes no value' 'a value for a flag without one is refused' merge --strict=1 a b
refuses 2 'an argument is missing' 'a missing argument is refused' merge recipe.yml
refuses 2 'one argument too many' 'a surplus argument is refused' inspect a b
refuses 2 'argument 1 is empty' 'an empty argument is refused' inspect ''
refuses 2 '--data: no data set' 'uq wants data' uq model
refuses 2 '--data: x= names no file' 'a data set without a file is refused' uq model --data x=
export UQMERGE_CPU=avx1024
refuses 2 'UQMERGE_CPU: avx1024 is none of ref, avx2, avx512' 'an unknown tier of kernels is refused' \
    devices
unset UQMERGE_CPU
refuses 2 '--out: is required' 'select wants a place for the merge' select model --data x.jsonl
refuses 2 'makes no sense with --no-write' 'select wants one of --out and --no-write' \
    select model --data x.jsonl --no-write --out o
refuses 2 '--prompt: is required' 'ask wants a prompt' ask model
for tokens in 0 -1 x tasks 1048577; do
    refuses 2 '--max-new-tokens' "$tokens new tokens are refused" \
        eval model --data x.jsonl --max-new-tokens "$tokens"
done

for size in '' 12Q -1 1.5 0x10 1e 1KiBB G 1..5G nan inf ' 1G' 99999999999999999999 9e99G; do
    refuses 2 '--memory: ' "the size \"$size\" is refused" merge --memory "$size" a b
done
refuses 2 '--memory: 0 is less than 64M' 'no memory is too little, not the default' \
    merge --memory 0 a b
refuses 2 '--memory: 67108863 is less than 64M' 'the least memory is said' \
    merge --memory 67108863 a b
refuses 2 '--sync-every: 0 is less than 1' 'syncing every 0 bytes is refused' \
    merge --sync-every 0 a b
for number in '' 0 -1 1.5 1e3 x 99999999999; do
    refuses 2 '--threads: ' "$number threads are refused" merge --threads "$number" a b
done
refuses 2 '--samples: -3 is less than 1' 'fewer than no records are refused' uq m --data d --samples -3
refuses 2 '--patience: -1 is less than 0' 'so is an impatient selection' \
    select m --data d --no-write --patience -1
refuses 2 '--patience: 99999999999 is more than 2147483647' 'a number that is too large is called so' \
    select m --data d --no-write --patience 99999999999
refuses 2 '--repeats: -2 is not within [1, 1024]' 'and one below both bounds gets both' \
    uq m --data d --repeats -2
refuses 2 '--seed: 18446744073709551616 is more than 18446744073709551615' \
    'a seed beyond 64 bits is too large' uq m --data d --seed 18446744073709551616
refuses 2 '--min-drop: 1e999 is more than' 'a real number beyond all is too large' \
    select m --data d --no-write --min-drop 1e999
for number in +3 3.0 1e3 ' 3' '3 ' 0x3 -0 -; do
    refuses 2 "--repeats: $number is not a whole number, written in digits alone" \
        "\"$number\" repeats are refused" uq m --data d --repeats "$number"
done
for option in repeats samples dropout perturb io memory device task; do
    refuses 2 "uq: --$option: is empty" "an empty --$option is refused" uq m --data d "--$option="
done
refuses 2 '--samples: 1e3 is not within (0, 1]; a number of records is written in digits alone' \
    'a number of records is no real number' uq m --data d --samples 1e3
refuses 2 '--samples: 0.0 leaves nothing' 'a share of nothing is refused' uq m --data d --samples 0.0
refuses 2 '--samples: -0.5 is less than 0' 'so is less' uq m --data d --samples -0.5

refuses 2 '--io: fast is none of auto, uring, pread' 'a wrong choice lists the right ones' \
    merge --io fast a b
refuses 2 '--perturb: colour is none of' 'a perturbation that does not exist is refused' \
    uq m --data d --perturb image,colour
refuses 2 'none stands alone' 'no perturbation excludes the others' uq m --data d --perturb none,text
refuses 2 '--samples: 0 is less than 1' 'a sample of nothing is refused' uq m --data d --samples 0
refuses 2 '--samples: 1.5 is not within' 'a share above one is refused' uq m --data d --samples 1.5
refuses 2 '--dropout: 1 is not within' 'dropping everything is refused' uq m --data d --dropout 1

refuses 2 'experiment: --out: a folder is required' 'experiment wants to know where to' \
    experiment a.yml
refuses 2 '--only: t15 is none of' 'experiment knows its tables' experiment a.yml --out o --only t1,t15
refuses 1 'absent.yml' 'experiment names a file that is not there' experiment absent.yml --out o
printf 'models: [a]\ndata: {held-in: [b.jsonl]}\nsedes: [1]\n' > "$work/odd.yml"
refuses 1 'odd.yml:3: study: unknown key sedes; did you mean seeds?' \
    'experiment names the line of a mistake' experiment odd.yml --out o
holds '[ ! -e "$work/o" ]' 'a refused study leaves no folder'
refuses 2 'report: --out: a page to write is required' 'report wants to know where to' report a.json
refuses 1 'absent.json' 'report names a file that is not there' report absent.json --out p.html
echo '{"answer": "B"}' > "$work/answer.json"
refuses 1 'answer: not a result that a report can show' 'report refuses what it cannot show' \
    report answer.json --out p.html
holds '[ ! -e "$work/p.html" ]' 'a refused report leaves no page'
refuses 1 'answer.json: not a page, so it is not replaced' 'report writes over nothing but pages' \
    report absent.json --out answer.json

refuses 2 'convert: --to: is required' 'convert wants a layout' convert a b
refuses 2 'OUT is a folder' 'GGUF goes into a folder' convert a b.gguf --to gguf
refuses 2 '--dtype q8_0: is for --to gguf' 'blocks are for GGUF' convert a b --to hf --dtype q8_0
refuses 2 'did you mean ties' 'an unknown merge method is refused' \
    select m --data d --no-write --merge tiez
refuses 2 'did you mean ties' 'before a plan, too' \
    select m --data d --no-write --merge tiez --dry-run
refuses 2 '--base b: linear merges have no base' 'so is a base that is of no use' \
    select m --data d --no-write --base b
refuses 2 '--merge ties: it takes differences to a base; give --base' 'and a method without its base' \
    select m --data d --no-write --merge ties
refuses 2 '--merge slerp: it merges 1 model beside its base' 'and more models than a method merges' \
    select m n o --data d --no-write --merge slerp --base b
refuses 2 'two sets of the name mmb; give one another with NAME=FILE' \
    'two sets of one name are refused' \
    uq m --data "$zoo/data/heldin/mmb.jsonl" --data "$zoo/data/heldin/mmb.jsonl"
refuses 2 "--out-shard-size: GGUF files are not cut" 'a GGUF file has no shards' \
    convert a b --to gguf --out-shard-size 1G
refuses 2 "an archive's name ends in .uqz" 'an archive is called so' pack a b.zip
refuses 2 '--guard: 2 is not within' 'a guard above one is refused' \
    select m --data d --no-write --guard 2
refuses 2 '--min-spread: -1 is not within' 'a spread below nothing is refused' \
    select m --data d --no-write --min-spread -1
refuses 2 '--confident: 1 is not above 0 and below 1' 'certainty is refused' \
    select m --data d --no-write --confident 1
refuses 2 '--window: 0 is less than 1' 'a window of nothing is refused' \
    select m --data d --no-write --window 0
refuses 2 '--alpha: is of --method cp' 'alpha without conformal sets is refused' \
    uq m --data d --alpha 0.1
for command in uq 'select --no-write'; do
    for option in '--perturb image' '--perturb none' '--repeats 4' '--dropout 0.1'; do
        refuses 2 "${option%% *}: makes no sense with --method cp" \
            "$command $option is refused beside conformal sets" $command m --data d --method cp $option
    done
    for perturb in image,text none; do
        refuses 2 '--dropout: is how the model is perturbed, and --perturb lacks model' \
            "$command --dropout is refused where $perturb is perturbed" \
            $command m --data d --perturb $perturb --dropout 0.2
    done
    for options in '--perturb image,model' '--perturb none' '--method cp'; do
        refuses 2 '--streams: authors draws' "$command $options has no streams of the authors'" \
            $command m --data d --streams authors $options
    done
done
# What has an effect is not refused: these end for want of the model.
for options in '--perturb model --dropout 0.2' '--dropout 0' '--perturb none --repeats 1' \
    '--method cp --alpha 0.2' '--streams authors' '--streams authors --perturb text,image' \
    '--streams authors --method cp --samples 5' '--streams authors --perturb none --samples 0.5' \
    '--streams own --perturb none' '--method perturb --repeats 2'; do
    refuses 1 absent-model "uq $options is taken" \
        uq absent-model --data "$zoo/data/heldin/mmb.jsonl" $options
done
for options in '--order accuracy-asc' '--order accuracy-desc' '--method cp' '--window 2'; do
    refuses 2 'select: --confident: makes no sense with' "no race is run with $options" \
        select m --data d --no-write --confident 0.05 $options
done
for option in --out --trace --state; do
    refuses 2 'select: --report: p is another output' "a page under the name of $option is refused" \
        select m --data d --out o --report p $option p
done
refuses 2 'select: --overwrite: makes no sense with --no-write' 'nothing written replaces nothing' \
    select m --data d --no-write --overwrite
for seed in --seed=0 '--random-seed 7'; do
    refuses 2 "a study's seeds stand in its file" "experiment $seed is refused" \
        experiment a.yml --out o $seed
done
refuses 2 'select: --fast: its probabilities are some 1e-3 off, and the uncertainties of steps differ' \
    'a selection is never fast' select m --data d --no-write --fast
refuses 2 'experiment: --fast: its probabilities are some 1e-3 off' 'nor is a study' \
    experiment a.yml --out o --fast
refuses 2 'merge: no option --fast' 'a merge has no such mode' merge a b --fast
for command in 'uq m --data d' 'eval m --data d' 'ask m --prompt p'; do
    refuses 2 '--fast: makes no sense with --device cpu: it concerns Vulkan devices' \
        "$command is not fast on the CPU" $command --fast --device cpu
done
for command in uq eval; do
    refuses 2 "$command: --fast: makes no sense with --window" "nor is a sweep of $command" \
        $command m --data d --fast --window 2
done
UQMERGE_DEVICE=cpu
export UQMERGE_DEVICE
refuses 1 '--fast: concerns Vulkan devices' 'nor where the environment names the CPU' \
    uq "$zoo/models/base" --data "$zoo/data/heldin/mmb.jsonl" --fast
refuses 1 '--fast: concerns Vulkan devices' 'ask neither' \
    ask "$zoo/models/base" --prompt p --fast
unset UQMERGE_DEVICE
refuses 2 '--method: magic is none of' 'an unknown measure is refused' uq m --data d --method magic
refuses 2 '--key: is required' 'sign wants a key' sign d
refuses 2 'makes no sense with' 'a key and certificates exclude each other' \
    verify d --public-key k.pem --certificate-chain c.pem
refuses 2 '--signature: needs' 'a signature wants a key' verify d --signature s
refuses 1 'not in this version' 'unsafe serialization is refused' merge a b --no-safe-serialization
refuses 2 '--device: tpu is none of' 'an unknown device is a usage error' uq m --data d --device tpu

run merge --cuda --no-lazy-unpickle --write-threads 3 --device cuda:0 absent.yml out
holds '[ $status = 1 ] && [ "$(grep -c "has no effect" "$work/stderr")" = 4 ]' \
    "mergekit's flags without a meaning are noted, one line each"
run merge -q --cuda absent.yml out
holds '[ $status = 1 ] && ! grep -q "has no effect" "$work/stderr"' 'quiet leaves the notes out'
run merge --json absent.yml out
holds '[ $status = 1 ] && [ ! -s "$work/stdout" ]' 'a failure prints no JSON'
run merge -- --help out
holds '[ $status = 1 ] && grep -q -- "--help" "$work/stderr"' 'after -- nothing is an option'
run uq absent-model --data "$zoo/data/heldin/mmb.jsonl" --memory=1.5GiB --random-seed 7 -vj2
holds '[ $status = 1 ] && grep -q "absent-model" "$work/stderr"' \
    'values may follow = or the letter, letters may be joined'

status=0
mkdir "$work/gone"
(cd "$work/gone" && rmdir "$work/gone" && exec "$uqmerge" merge a.yml out) > "$work/stdout" \
    2> "$work/stderr" < /dev/null || status=$?
holds '[ $status = 1 ] && grep -q "a.yml: .*(the current directory has been deleted)" "$work/stderr"' \
    'an error in a folder that is gone says so'

# The manual page: no warning of the tools that read it, where they are there.
page=$UQM_TESTS/../docs/uqmerge.1
if command -v mandoc > /dev/null; then
    : > "$work/stderr"
    mandoc -T lint "$page" > "$work/stdout" 2>&1
    holds '[ ! -s "$work/stdout" ]' 'mandoc finds nothing wrong with the manual page'
fi
if command -v groff > /dev/null; then
    groff -ww -b -man -Tutf8 -z "$page" > "$work/stdout" 2>&1
    holds '[ ! -s "$work/stdout" ]' 'groff has no warning for the manual page'
fi

# completes WORDS NAME ARGUMENT...: what bash offers for the last argument, and which of its own ways
# of completing are asked for ("+default" is none). A locale that is not there would be warned of.
completes() {
    wanted=$1 name=$2
    shift 2
    LC_ALL=C bash -c '
        cd "$1" && shift
        . "$0"
        compopt() { ways="$*"; }
        COMP_WORDS=(uqmerge "$@") COMP_CWORD=$#
        _uqmerge
        echo ${COMPREPLY[@]} ${ways:+[$ways]}' "$UQM_TESTS/../docs/uqmerge.bash" "$work" "$@" \
        > "$work/stdout" 2> "$work/stderr"
    holds '[ ! -s "$work/stderr" ] && [ "$(cat "$work/stdout")" = "$wanted" ]' "completion: $name"
}
if command -v bash > /dev/null; then
    completes 'sign select [+o default]' 'commands' s
    completes 'pack [+o default]' 'help is of commands' help pa
    completes '--dry-run --direct --device [+o default]' 'options, own and shared' merge a.yml --d
    completes '--no-write [+o default]' "options of the command, not mergekit's" select --no
    completes 'uring [+o default]' 'choices' uq m --io u
    completes 'uring [+o default]' 'choices behind =' uq m --io = u
    completes '--io=uring [+o default]' 'choices in one word' uq m --io=u
    completes 'sampled full off [+o default]' 'an option that means another thing elsewhere' \
        merge --report ''
    completes '' 'files of an option' select --report p
    completes 'ties [-o filenames]' 'merge methods' select --merge ti
    : > "$work/ties.yml"
    completes 'ties ties.yml [-o filenames]' 'and recipes' select --merge ti
    completes '--merge=ties --merge=ties.yml [-o filenames]' 'also in one word' select --merge=ti
    completes 'seedbench seedbench-2-plus seedbench-gen [+o default]' 'tasks' uq --task seed
    completes '[+o default -o dirnames]' 'folders of an option' select --out o
    completes 'image,text [+o default]' 'lists of names' uq --perturb image,te
    completes '[+o default]' 'nothing for a number' uq --threads ''
    completes '' 'files and folders for arguments' inspect mod
    completes '' 'nothing but paths behind --' inspect -- --t
fi

run devices --json
holds '[ $status = 0 ] && [ "$(value devices.0.id)" = cpu ] && [ "$(value devices.0.type)" = cpu ]' \
    'devices is one JSON document that names the CPU'
if [ -w /dev/full ]; then
    status=0
    "$uqmerge" devices > /dev/full 2> "$work/stderr" || status=$?
    : > "$work/stdout"
    holds '[ $status = 1 ] && grep -q "standard output: No space left" "$work/stderr"' \
        'a full disk under standard output is an error'
fi
if [ -w /dev/full ]; then
    # One write of more than the stream's buffer leaves nothing behind to fail once more.
    status=0
    "$uqmerge" inspect "$zoo/models/know" --json > /dev/full 2> "$work/stderr" || status=$?
    holds '[ $status = 1 ] && grep -q "standard output: No space left" "$work/stderr"' \
        'a full disk under a large document is an error with its reason'
fi
# A pipe that nobody reads any more: its last reader is closed before the program starts.
mkfifo "$work/pipe"
exec 3<> "$work/pipe" 4> "$work/pipe" 3<&-
status=0
"$uqmerge" --help >&4 2> "$work/stderr" || status=$?
exec 4>&-
: > "$work/stdout"
holds '[ $status = 1 ] && grep -q "standard output: Broken pipe" "$work/stderr"' \
    'a closed pipe under standard output is an error, not a death'
finish
