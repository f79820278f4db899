# Completion of uqmerge for bash: source it, or install it as completions/uqmerge.
# Made by `uqmerge --completion` from the tables that --help prints; not to be edited.
_uqmerge()
{
    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} options= words= kind= before= i
    COMPREPLY=()
    # Where = parts words, --name=VALUE is three of them.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $option == = ]]; then
        option=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $cur == --*=* ]]; then
        option=${cur%%=*} before=${cur%%=*}= cur=${cur#*=}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        # Behind -- there are only paths, which bash completes by itself.
        [[ ${COMP_WORDS[i]} == -- ]] && return
    done
    if ((COMP_CWORD == 1)) || [[ $command == help ]]; then
        option= kind=word words='help --help --version --man --completion inspect diff merge verify sign convert pack unpack ask uq select eval experiment report devices'
    else
    case $command in
    inspect)
        options=' --tensors --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    diff)
        options=' --exit-code --all --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    merge)
        options=' --dry-run --overwrite --out-shard-size --no-copy-tokenizer --no-write-model-card --unsafe-truncate-embeddings --allow-crimes --allow-nan --vision-tower --numerics --report --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    verify)
        options=' --inputs --tensor --public-key --certificate-chain --signature --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    sign)
        options=' --key --signature --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    convert)
        options=' --to --vision-tower --dtype --out-shard-size --overwrite --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    pack)
        options=' --delta-from --overwrite --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    unpack)
        options=' --base --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    ask)
        options=' --image --prompt --system --max-tokens --logits --dry-run --vision-tower --fast --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    uq)
        options=' --data --task --samples --dry-run --vision-tower --perturb --repeats --dropout --method --alpha --streams --trace --window --fast --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    select)
        options=' --out --data --task --samples --dry-run --vision-tower --order --merge --base --all-steps --min-drop --patience --guard --min-spread --confident --window --no-write --overwrite --state --report --perturb --repeats --dropout --method --alpha --streams --trace --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    eval)
        options=' --data --task --samples --dry-run --vision-tower --max-new-tokens --trace --window --fast --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    experiment)
        options=' --out --only --dry-run --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    report)
        options=' --out --title --memory --threads --io --direct --device --seed --sync-every --strict --ignore-crc' ;;
    devices)
        options='' ;;
    esac
    options+=' --json --progress --quiet --verbose --help'
    case $command' '$option in
    merge' --out-shard-size') kind=word words='' ;;
    merge' --vision-tower') kind=folder ;;
    merge' --numerics') kind=word words='accurate mergekit' ;;
    merge' --report') kind=word words='sampled full off' ;;
    merge' --device') kind=word words='auto cpu' ;;
    merge' --write-threads') kind=word words='' ;;
    merge' --lora-merge-cache') kind=folder ;;
    merge' --lora-merge-dtype') kind=word words='' ;;
    merge' --transformers-cache') kind=folder ;;
    verify' --tensor') kind=word words='' ;;
    verify' --public-key') kind=file ;;
    verify' --certificate-chain') kind=file ;;
    verify' --signature') kind=file ;;
    sign' --key') kind=file ;;
    sign' --signature') kind=file ;;
    convert' --to') kind=word words='hf llava gguf' ;;
    convert' --vision-tower') kind=folder ;;
    convert' --dtype') kind=word words='stored f16 bf16 f32 f64 q8_0 q4_k_m float16 bfloat16 float32 float64' ;;
    convert' --out-shard-size') kind=word words='' ;;
    pack' --delta-from') kind=file ;;
    unpack' --base') kind=file ;;
    ask' --image') kind=file ;;
    ask' --prompt') kind=word words='' ;;
    ask' --system') kind=word words='' ;;
    ask' --max-tokens') kind=word words='' ;;
    ask' --vision-tower') kind=folder ;;
    uq' --data') kind=file ;;
    uq' --task') kind=word words='multiple-choice mmbench oodcv scienceqa seedbench ai2d short-answer okvqa textvqa vizwiz vqav2 gqa pope mmmu realworldqa seedbench-2-plus ocrbench ai2d-gen scienceqa-gen seedbench-gen' ;;
    uq' --samples') kind=word words='' ;;
    uq' --vision-tower') kind=folder ;;
    uq' --perturb') kind=names words='image text model none' ;;
    uq' --repeats') kind=word words='' ;;
    uq' --dropout') kind=word words='' ;;
    uq' --method') kind=word words='perturb cp' ;;
    uq' --alpha') kind=word words='' ;;
    uq' --streams') kind=word words='own authors' ;;
    uq' --trace') kind=file ;;
    uq' --window') kind=word words='' ;;
    select' --out') kind=folder ;;
    select' --data') kind=file ;;
    select' --task') kind=word words='multiple-choice mmbench oodcv scienceqa seedbench ai2d short-answer okvqa textvqa vizwiz vqav2 gqa pope mmmu realworldqa seedbench-2-plus ocrbench ai2d-gen scienceqa-gen seedbench-gen' ;;
    select' --samples') kind=word words='' ;;
    select' --vision-tower') kind=folder ;;
    select' --order') kind=word words='uq-desc uq-asc accuracy-desc accuracy-asc given random' ;;
    select' --merge') kind=either words='linear slerp nuslerp multislerp karcher task_arithmetic ties dare_ties dare_linear breadcrumbs breadcrumbs_ties della della_linear model_stock sce nearswap arcee_fusion ram ramplus_tl passthrough' ;;
    select' --base') kind=folder ;;
    select' --min-drop') kind=word words='' ;;
    select' --patience') kind=word words='' ;;
    select' --guard') kind=word words='' ;;
    select' --min-spread') kind=word words='' ;;
    select' --confident') kind=word words='' ;;
    select' --window') kind=word words='' ;;
    select' --state') kind=file ;;
    select' --report') kind=file ;;
    select' --perturb') kind=names words='image text model none' ;;
    select' --repeats') kind=word words='' ;;
    select' --dropout') kind=word words='' ;;
    select' --method') kind=word words='perturb cp' ;;
    select' --alpha') kind=word words='' ;;
    select' --streams') kind=word words='own authors' ;;
    select' --trace') kind=file ;;
    eval' --data') kind=file ;;
    eval' --task') kind=word words='multiple-choice mmbench oodcv scienceqa seedbench ai2d short-answer okvqa textvqa vizwiz vqav2 gqa pope mmmu realworldqa seedbench-2-plus ocrbench ai2d-gen scienceqa-gen seedbench-gen' ;;
    eval' --samples') kind=word words='' ;;
    eval' --vision-tower') kind=folder ;;
    eval' --max-new-tokens') kind=word words='task' ;;
    eval' --trace') kind=file ;;
    eval' --window') kind=word words='' ;;
    experiment' --out') kind=folder ;;
    experiment' --only') kind=names words='f1 t1 t2 t3 t4 t5 t6 t7 t8 t9 t10 t11 t12 t13 t14' ;;
    experiment' --seed') kind=word words='' ;;
    experiment' --random-seed') kind=word words='' ;;
    report' --out') kind=file ;;
    report' --title') kind=word words='' ;;
    *' --memory') kind=word words='' ;;
    *' --threads' | *' -j') kind=word words='' ;;
    *' --num-threads') kind=word words='' ;;
    *' --io') kind=word words='auto uring pread' ;;
    *' --direct') kind=word words='auto on off' ;;
    *' --device') kind=word words='auto cpu vulkan' ;;
    *' --seed') kind=word words='' ;;
    *' --random-seed') kind=word words='' ;;
    *' --sync-every') kind=word words='' ;;
    *' --progress') kind=word words='auto always never' ;;
    esac
    fi
    case $kind in
    file) return ;;
    folder) compopt +o default -o dirnames; return ;;
    either)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"
            compgen -f -- "$cur")
        COMPREPLY=("${COMPREPLY[@]/#/$before}")
        return ;;
    names) [[ $cur == *,* ]] && before+=${cur%,*}, cur=${cur##*,} ;;
    word) ;;
    *)
        [[ $cur == -* ]] || return
        words=$options ;;
    esac
    compopt +o default
    COMPREPLY=($(compgen -P "$before" -W "$words" -- "$cur"))
}
complete -o default -F _uqmerge uqmerge
