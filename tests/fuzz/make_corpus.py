#!/usr/bin/env python3
"""Make the inputs of tests/fuzz/corpus that are not files of other programs: small inputs of every kind, sound and broken.
usage: make_corpus.py REPOSITORY"""
import json, os, pickle, struct, sys, zipfile, zlib

repo = sys.argv[1]
root = os.path.join(repo, "tests/fuzz/corpus")
zoo = os.path.join(repo, "tests/zoo")


def put(target, name, data):
    os.makedirs(os.path.join(root, target), exist_ok=True)
    with open(os.path.join(root, target, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


# --- safetensors: the header tables of both kinds ---
def st(header, n_data=0, n=None):
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw) if n is None else n) + raw + bytes(n_data)


W = '"w":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}'
put("safetensors", "one", st("{%s}" % W, 8))
put("safetensors", "metadata", st('{"__metadata__":{"format":"pt","a":"b"},%s}' % W, 8))
put("safetensors", "empty", st("{}"))
put("safetensors", "padded", st("{%s}   " % W, 8))
put("safetensors", "two", st('{"b":{"dtype":"F32","shape":[3],"data_offsets":[8,20]},%s}' % W, 20))
put("safetensors", "scalar", st('{"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}', 8))
put("safetensors", "zero", st('{"z":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}'))
put("safetensors", "f4", st('{"q":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}', 2))
put("safetensors", "twice", st('{%s,%s}' % (W, W.replace("w", "\\u0077", 1)), 8))
put("safetensors", "hole", st('{%s,"b":{"dtype":"U8","shape":[1],"data_offsets":[9,10]}}' % W, 10))
put("safetensors", "overflow", st('{"w":{"dtype":"F16","shape":[4194305,4194305,211106198978564],"data_offsets":[0,16]}}', 16))
put("safetensors", "negative", st(W.replace("[2,2]", "[-2,2]").join("{}"), 8))
put("safetensors", "extra", st('{"w":{"dtype":"F16","shape":[4],"data_offsets":[0,8],"extra":{"a":[1,{}]}}}', 8))
put("safetensors", "huge", st("{}", 0, 1 << 63))
put("safetensors", "deep", st('{"w":' + "[" * 64 + "]" * 64 + "}"))

# --- shard index ---
put("shard_index", "two", json.dumps({"metadata": {"total_size": 12}, "weight_map": {
    "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}))
put("shard_index", "no_total", '{"weight_map":{"a":"x.safetensors"}}')
put("shard_index", "up", '{"weight_map":{"a":"../x.safetensors"}}')
put("shard_index", "twice", '{"weight_map":{"a":"x.safetensors","\\u0061":"y.safetensors"}}')
put("shard_index", "type", '{"weight_map":{"a":1}}')
put("shard_index", "large", '{"metadata":{"total_size":18446744073709551616},"weight_map":{}}')

# --- config.json and companions ---
def config(*names):
    texts = []
    for n in names:
        p = os.path.join(zoo, "models/base", n)
        texts.append(open(p, "rb").read() if n and os.path.exists(p) else b"")
    return b"\0".join(texts)


put("model_config", "zoo", config("config.json", "", "preprocessor_config.json", "tokenizer_config.json", "generation_config.json"))
put("model_config", "alone", config("config.json"))
put("model_config", "llama", json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
    "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 100,
    "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "hidden_act": "silu", "eos_token_id": [2, 3]}))
put("model_config", "llava", json.dumps({"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "hidden_size": 64,
    "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100, "rms_norm_eps": 1e-5,
    "mm_vision_tower": "clip", "mm_hidden_size": 32, "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
    "mm_projector_type": "mlp2x_gelu", "image_aspect_ratio": "pad", "hidden_act": "silu"}) + "\0" + json.dumps({
    "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3, "image_size": 28, "patch_size": 14,
    "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}))
put("model_config", "zero_heads", '{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_attention_heads":0}')

# --- recipes ---
put("recipe", "linear", "models:\n  - model: a\n    parameters: {weight: 0.3}\n  - model: b\n    parameters:\n      weight: [0, 0.5, 1]\nmerge_method: linear\ndtype: bfloat16\n")
put("recipe", "ties", "models:\n  - model: a\n    parameters:\n      density: 0.5\n      weight:\n        - filter: mlp\n          value: [0.1, 0.9]\n        - value: 0.5\nmerge_method: ties\nbase_model: c\nparameters: {normalize: true, int8_mask: yes}\nout_dtype: float16\n")
put("recipe", "slices", "slices:\n  - sources:\n      - model: a\n        layer_range: [0, 4]\n  - sources:\n      - {model: b, layer_range: [2, 6]}\nmerge_method: passthrough\n")
put("recipe", "modules", "modules:\n  text_decoder:\n    models: [{model: a}, {model: b}]\n  vision_tower:\n    slices: [{sources: [{model: a, layer_range: [0, 2]}]}]\nmerge_method: slerp\nbase_model: a\nparameters: {t: 0.5}\n")
put("recipe", "tokens", "models: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\ntokenizer:\n  source: union\n  pad_to_multiple_of: 64\n  tokens:\n    <x>: {source: {kind: model_token, model: a, token_id: 3}, force: true}\n    <y>: {source: {kind: zero}}\nchat_template: auto\n")
put("recipe", "documents", "name: one\nmodels: [{model: a, parameters: {weight: 1}}]\nmerge_method: linear\n---\nmodels: [{model: one, parameters: {weight: 1}}, {model: b, parameters: {weight: 2}}]\nmerge_method: linear\n")
put("recipe", "map_model", "models:\n  - model: {model: {path: a, revision: null}, override_architecture: X}\n    parameters: {weight: 1}\nmerge_method: linear\n")
put("recipe", "anchors", "x: &w {weight: 1}\nmodels: [{model: a, parameters: *w}]\nmerge_method: linear\n")
put("recipe", "merge_keys", "x: &x {weight: 1, density: 2}\ny: &y {<<: *x, weight: 3}\nmodels:\n  - model: a\n    parameters: {<<: [*y, {gamma: 1}]}\n  - <<: {model: b}\n    parameters: *x\nmerge_method: breadcrumbs\nbase_model: c\n")
put("recipe", "typo", "modells: [{model: a}]\nmerge_method: linaer\n")
put("recipe", "tabs", "models:\n\t- model: a\n")
put("recipe", "bomb", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nmodels: *c\n")
put("recipe", "directive", b"name: one\nmerge_method: linear\n%models: {weight: \xff}\nx: y\n")
put("recipe", "lora", "models: [{model: a+b@c, parameters: {weight: 1}}]\nmerge_method: linear\n")

# --- pickles: state dicts without torch ---
def glob(name):
    mod, _, cls = name.rpartition(".")
    return b"c%s\n%s\n" % (mod.encode(), cls.encode())


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def num(v):
    return b"K%c" % v if v < 256 else b"J" + struct.pack("<i", v)


def tensor(key, numel, shape, stride, kind="torch.HalfStorage", offset=0):
    storage = b"(" + text("storage") + glob(kind) + text(key) + text("cpu") + num(numel) + b"tQ"
    dims = lambda v: b"(" + b"".join(num(x) for x in v) + b"t"
    return (glob("torch._utils._rebuild_tensor_v2") + b"(" + storage + num(offset) + dims(shape) + dims(stride) + b"\x89" +
            glob("collections.OrderedDict") + b")R" + b"tR")


def state(items, ordered=True):
    head = glob("collections.OrderedDict") + b")R" if ordered else b"}"
    return b"\x80\x02" + head + b"(" + b"".join(text(k) + v for k, v in items) + b"u."


A = ("a", tensor("0", 6, (2, 3), (3, 1)))
put("pickle", "one", state([A]))
put("pickle", "dict", state([A, ("n", num(7)), ("b", tensor("1", 300, (300,), (1,), "torch.FloatStorage"))], False))
put("pickle", "view", state([A, ("t", tensor("0", 6, (3, 2), (1, 3)))]))
put("pickle", "repeat", state([("r", tensor("0", 1, (5,), (0,)))]))
put("pickle", "past", state([("p", tensor("0", 6, (2, 3), (3, 1), offset=1))]))
put("pickle", "nested", b"\x80\x02}" + text("state_dict") + state([A])[2:-1] + b"s.")
put("pickle", "parameter", b"\x80\x02}" + text("w") + glob("torch._utils._rebuild_parameter") + b"(" + A[1] + b"\x88" + glob("collections.OrderedDict") + b")RtRs.")
put("pickle", "evil", b"\x80\x02cos\nsystem\n(X\x04\0\0\0truetR.")
put("pickle", "protocol4", pickle.dumps({"a": 1}, protocol=4))
put("pickle", "memo", b"\x80\x02}q\x00X\x01\0\0\0aq\x01h\x00s.")
put("pickle", "marks", b"\x80\x02" + b"(" * 70 + b".")
A0 = state([A])

# --- zip directories ---
def torch_zip(records, root="archive", local_sizes=False):
    out, central = b"", b""
    for name, data in records:
        full = f"{root}/{name}".encode()
        off, crc = len(out), zlib.crc32(data)
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, 0x0800, 0, 0, 0, crc if local_sizes else 0,
                           len(data) if local_sizes else 0, len(data) if local_sizes else 0, len(full), 0) + full + data
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 0, 0x0800, 0, 0, 0, crc, len(data), len(data),
                               len(full), 0, 0, 0, 0, 0, off) + full
    at = len(out)
    return out + central + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(records), len(records), len(central), at, 0)


plain = [("data.pkl", A0), ("byteorder", b"little"), ("data/0", bytes(12)), ("version", b"3\n")]
put("torch_zip", "plain", torch_zip(plain))
put("torch_zip", "sizes", torch_zip(plain, "model", True))
put("torch_zip", "no_pickle", torch_zip(plain[1:]))
put("torch_zip", "script", torch_zip(plain + [("constants.pkl", b"x")]))
put("torch_zip", "twice", torch_zip(plain + [("data.pkl", b"x")]))
put("torch_zip", "up", torch_zip(plain + [("../x", b"x")]))
put("torch_zip", "legacy", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
put("torch_zip", "comment", torch_zip(plain) + b"trailing")

# --- tokenizer models ---
def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def field(n, wire, data):
    return varint(n << 3 | wire) + (varint(len(data)) + data if wire == 2 else data)


def piece(s, score, kind=1):
    return field(1, 2, field(1, 2, s.encode()) + field(2, 5, struct.pack("<f", score)) + (field(3, 0, varint(kind)) if kind != 1 else b""))


def spm(pieces, model_type=2, name=b"identity"):
    trainer = field(3, 0, varint(model_type)) + field(35, 0, varint(1)) + field(40, 0, varint(0))
    normal = field(1, 2, name) + field(3, 0, varint(1)) + field(4, 0, varint(0)) + field(5, 0, varint(1))
    return b"".join(pieces) + field(2, 2, trainer) + field(3, 2, normal)


base = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3)] + [piece("<0x%02X>" % b, 0, 6) for b in range(256)]
letters = [piece("\u2581" + c, -i) for i, c in enumerate("ABCDEF")] + [piece(c, -10 - i) for i, c in enumerate("\u2581Whatisohown?.")]
put("spm_model", "small", spm(base + letters))
put("spm_model", "unigram", spm(base + letters, 1))
put("spm_model", "charsmap", spm(base + letters)[:-2] + b"\x12\x01x")
put("spm_model", "twice", spm(base + letters + letters[:1]))
put("spm_model", "user", spm(base + letters + [piece("<image>", 0, 4), piece("unused", 0, 5)]))
put("spm_model", "cut", spm(base + letters)[:700])

# --- files of several recipes, and texts that are edited ---
leaf = "merge_method: linear\nname: %s\nmodels:\n  - {model: %s, parameters: {weight: 1}}\n"
put("recipe_stream", "two", leaf % ("a", "x") + "---\n" + leaf.replace("name: %s\n", "") % "a")
put("recipe_stream", "named", leaf % ("a", "x") + "---\n" + leaf % ("b", "a"))
put("recipe_stream", "cycle", leaf % ("a", "b") + "---\n" + leaf % ("b", "a"))
put("recipe_stream", "twice", leaf % ("a", "x") + "---\n" + leaf % ("a", "y"))
put("recipe_stream", "alone", leaf.replace("name: %s\n", "") % "x")
put("recipe_stream", "empty", "---\n---\n")
put("json_edit", "tokenizer", '{"added_tokens": [{"id": 3, "content": "<x>"}, {"id": 1e0}],\n "model": {"vocab": {"a": 0, "\\u00e9": 1}}}')
put("json_edit", "numbers", '{"a": 1e400, "vocab": [-0.0, 99999999999999999999], "model": "\\ud83d\\ude00"}')
put("json_edit", "twice", '{"a": [], "a": {}, "model" : [ ] }')
put("json_edit", "deep", '{"a": ' + "[" * 40 + "]" * 40 + "}")
put("json_edit", "cut", '{"a": {"b": "\\u12')

# --- question sets ---
lines = open(os.path.join(zoo, "data/heldin/mmb.jsonl")).read().splitlines()[:3]
put("dataset", "mc", "\n".join(lines) + "\n")
gen = os.path.join(zoo, "data/heldout/gqa.jsonl")
put("dataset", "answers", "\n".join(open(gen).read().splitlines()[:3]) if os.path.exists(gen)
    else '{"id":"g","image":null,"question":"q?","answers":["a","b"]}\n')
put("dataset", "array", json.dumps([{"id": 1, "image_path": "x.png", "question": "q", "hint": "nan", "A": "a", "B": "b", "C": None, "D": None, "answer": "B"}]))
put("dataset", "nan", '[{"question":"q","A":"x","B":NaN,"answer":NaN}]')
put("dataset", "no_question", '{"id":"a","choices":["x"],"answer":0}\n')
put("dataset", "twice", '{"id":"a","question":"q","choices":["x"],"answer":0}\n{"id":"a","question":"q","choices":["x"],"answer":0}\n')
put("dataset", "images", '{"id":"a","images":["x.png","y.png","z.png"],"question":"<image 3> <image 0x","hint":"<image 1>","choices":["<image"],"answer":0}\n')
put("dataset", "unnamed", '{"id":"b","image":["x.png"],"question":"<image 2>"}\n')
put("dataset", "outside", '{"id":"a","question":"q","choices":["x"],"answer":7}\n')
put("dataset_tsv", "rows", "index\tquestion\thint\tA\tB\tanswer\tcategory\timage\n1\tq\t\tx\ty\tB\tc\tAAAA\n2\t\"a \"\"b\"\"\n\tc\"\th\tx\tnan\t\t\t1\n")
put("dataset_tsv", "quoted", "question\timage\r\nq\t\"QUJD\"\r\n")
put("dataset_tsv", "open", "question\tA\n\"q\ta\n")
put("dataset_tsv", "short", "question\tA\nq\n")
put("dataset_tsv", "marked", "\ufeff\"index\"\tquestion\n\n1\tq\n\r\n\n")

# --- pictures: the repository's own ---
pictures = os.path.join(repo, "tests/golden/pictures")
chosen = sorted(os.listdir(pictures), key=lambda n: os.path.getsize(os.path.join(pictures, n)))
kinds = {}
for n in chosen:
    kinds.setdefault(n.rsplit(".", 1)[-1].lower(), []).append(n)
for kind, names in kinds.items():
    if kind in ("png", "jpg", "jpeg", "webp"):
        for n in names[:4]:
            put("image", n, open(os.path.join(pictures, n), "rb").read())

# --- manifests: one like ours, without its own digest ---
h = "0123456789abcdef" * 4
put("manifest", "plain", json.dumps({"version": 1, "program": "uqmerge 0.1.0", "recipe": "models: []\n", "seed": 0,
    "inputs": [{"path": "a", "files": [{"name": "model.safetensors", "bytes": 10, "xxh3_128": h[:32]}]}],
    "files": [{"name": "model.safetensors", "bytes": 100, "sha256": h}],
    "tensors": [{"name": "w", "file": "model.safetensors", "offset": 80, "bytes": 20, "xxh3_128": h[:32]}], "xxh3_128": h[:32]}))
put("manifest", "outside", json.dumps({"version": 1, "program": "p", "recipe": "r", "seed": 1, "inputs": [], "files":
    [{"name": "m", "bytes": 4, "sha256": h}], "tensors": [{"name": "w", "file": "m", "offset": 2, "bytes": 3, "xxh3_128": h[:32]}], "xxh3_128": h[:32]}))
put("manifest", "up", json.dumps({"version": 1, "program": "p", "recipe": "r", "seed": 1, "inputs": [], "files":
    [{"name": "../m", "bytes": 4, "sha256": h}], "tensors": [], "xxh3_128": h[:32]}))

# --- journals: records behind a header that the target makes (its first byte is 1: it also makes their hashes) ---
def record(kind, payload, sequence=0):
    return struct.pack("<IIQ", len(payload), kind, sequence) + payload + bytes(8)

put("journal", "records", b"\1" + record(1, b"") + record(1, bytes(64)) + record(2, b"x" * 368))
put("journal", "short", b"\1" + record(1, bytes(64)) + record(1, bytes(64))[:-3])
put("journal", "long", b"\1" + record(1, bytes(8)) + struct.pack("<IIQ", 0xffffffff, 1, 1) + bytes(40))
put("journal", "unhashed", b"\2" + record(1, bytes(8)))
put("journal", "header", b"\0" + b"UQMJRNL\n" + struct.pack("<II", 1, 0) + bytes(48))

# --- vocabularies: which main file, then three files with a byte 0 between them ---
bpe = '{"added_tokens": [{"id": 2, "content": "<s>", "special": true}], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}'
put("vocabulary", "bpe", b"0" + bpe.encode())
put("vocabulary", "unigram", b'0{"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5], ["\\u2581b", -2e0]]}}')
put("vocabulary", "old", b'1{"a": 0, "b": 1}\0{"<pad>": 2, "a": 7}\0{"added_tokens_decoder": {"3": {"content": "<x>", "lstrip": true}}}')
put("vocabulary", "decoder", b"0" + bpe.encode() + b'\0{}\0{"added_tokens_decoder": {"2": {"content": "<s>"}, "x": {"content": "y"}}}')
put("vocabulary", "twice", b'1{"a": 0, "a": 1}')
put("vocabulary", "high", b'1{"a": 16777216}')
put("vocabulary", "scoreless", b'0{"model": {"vocab": [[]]}}')

# --- archives: where the index begins, then the index ---
def text_(s):
    return struct.pack("<I", len(s)) + s.encode()


def archive(files, segments=(), tensors=(), blocks=(), base=("", []), block=1 << 18, end=None):
    """files: (path, bytes, n_segments, n_tensors); segments: (words, delta, bytes, base_off);
    blocks: lists of planes (bytes, packed)"""
    n_leaves = sum((f[1] + (1 << 20) - 1) >> 20 for f in files)
    ix = struct.pack("<IIIIIIQQ", block, len(base[1]), len(files), len(segments), len(tensors), 0,
                     len(blocks), n_leaves)
    ix += text_(base[0])
    for path, size in base[1]:
        ix += text_(path) + struct.pack("<Q", size) + bytes(32)
    for path, size, n_segments, n_tensors in files:
        ix += text_(path) + struct.pack("<QIII", size, 0, n_segments, n_tensors) + bytes(64)
    for words, delta, size, off in segments:
        ix += struct.pack("<IIQQ", words | delta << 8, 0, size, off)
    for name, dtype, off, size, shape in tensors:
        ix += text_(name) + text_(dtype) + struct.pack("<QQI", off, size, len(shape))
        ix += b"".join(struct.pack("<Q", d) for d in shape)
    for planes in blocks:
        ix += bytes(16) + b"".join(struct.pack("<I", n | packed << 31) for n, packed in planes)
    stored = 64 + sum(n for planes in blocks for n, _ in planes)
    return struct.pack("<Q", stored if end is None else end) + ix + bytes(32 * min(n_leaves, 8))


put("archive", "nothing", archive([]))
put("archive", "empty", archive([("a", 0, 0, 0)]))
put("archive", "one", archive([("a", 9, 1, 0)], [(1, 0, 9, 0)], [], [[(9, 0)]]))
put("archive", "folders", archive([("a/b", 0, 0, 0), ("a/c/d", 0, 0, 0)]))
put("archive", "climbs", archive([("../a", 0, 0, 0)]))
put("archive", "model", archive(
    [("config.json", 30, 1, 0), ("m.safetensors", 300000, 2, 2)],
    [(1, 0, 30, 0), (1, 0, 100, 0), (2, 0, 299900, 0)],
    [("none", "F32", 100, 0, [0, 3]), ("w", "BF16", 100, 299900, [149950])],
    [[(20, 1)], [(60, 1)], [(50000, 1), (1 << 17, 0)], [(7, 1), (18878, 0)]]))
put("archive", "words32", archive([("m", 16, 1, 0)], [(4, 0, 16, 0)], [],
                                  [[(4, 0), (4, 0), (1, 1), (4, 0)]]))
put("archive", "delta", archive([("m", 8, 1, 0)], [(2, 1, 8, 92)], [], [[(4, 0), (4, 0)]],
                                ("base", [("m", 100)])))
put("archive", "delta_past_base", archive([("m", 8, 1, 0)], [(2, 1, 8, 93)], [], [[(4, 0), (4, 0)]],
                                          ("base", [("m", 100)])))
put("archive", "long_plane", archive([("m", 8, 1, 0)], [(2, 0, 8, 0)], [], [[(5, 0), (4, 0)]]))
put("archive", "huge_segment", archive([("m", 1 << 62, 1, 0)], [(1, 0, 1 << 62, 0)]))
put("archive", "gap", archive([("a", 9, 1, 0)], [(1, 0, 9, 0)], [], [[(9, 0)]], end=100))

# --- GGUF headers ---
def gstr(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s

GFMT = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}

def gvalue(kind, v):
    if kind == 8:
        return gstr(v)
    if kind == 9:
        elem, items = v
        return struct.pack("<IQ", elem, len(items)) + b"".join(gvalue(elem, i) for i in items)
    return struct.pack(GFMT[kind], v)

def gguf(pairs=(), tensors=(), n_data=None, version=3, align=32, counts=None, magic=b"GGUF"):
    """pairs: (key, type, value); tensors: (name, dims, type, offset, bytes)."""
    n_tensors, n_pairs = counts or (len(tensors), len(pairs))
    out = magic + struct.pack("<IQQ", version, n_tensors, n_pairs)
    for key, kind, v in pairs:
        out += gstr(key) + struct.pack("<I", kind) + gvalue(kind, v)
    end = 0
    for name, dims, kind, offset, n_bytes in tensors:
        out += gstr(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", kind, offset)
        end = offset + n_bytes
    if tensors:
        out += b"\0" * (-len(out) % align)
    return out + bytes(end if n_data is None else n_data)

ARCH = ("general.architecture", 8, "llama")
W32 = ("w", [4, 2], 0, 0, 32)
put("gguf", "empty", gguf())
put("gguf", "one", gguf([ARCH], [W32]))
put("gguf", "types", gguf([("a.%d" % k, k, 1) for k in GFMT] + [("t", 8, "x"), ("l", 9, (8, ["a", "", "bc"])),
    ("n", 9, (4, [1, 2, 3])), ("b", 9, (7, [0, 1]))]))
put("gguf", "blocks", gguf([ARCH], [("q", [32, 2], 8, 0, 68), ("k", [256], 12, 96, 144), ("x", [256, 1, 1, 1], 14, 256, 210)]))
put("gguf", "aligned", gguf([("general.alignment", 4, 64)], [("a", [3], 0, 0, 12), ("b", [1], 24, 64, 1)], align=64))
put("gguf", "version2", gguf([ARCH], [W32], version=2))
put("gguf", "version1", gguf(version=1))
put("gguf", "big_endian", gguf(version=3 << 24))
put("gguf", "magic", gguf(magic=b"GGML"))
put("gguf", "split", gguf([("split.no", 2, 0), ("split.count", 2, 2), ("split.tensors.count", 5, 2)], [W32]))
put("gguf", "key_twice", gguf([ARCH, ARCH]))
put("gguf", "tensor_twice", gguf([], [W32, ("w", [4, 2], 0, 32, 32)]))
put("gguf", "nested", gguf([("a", 9, (9, []))]))
put("gguf", "bool2", gguf([("a", 7, 2)]))
put("gguf", "align3", gguf([("general.alignment", 4, 3)]))
put("gguf", "align_type", gguf([("general.alignment", 10, 32)]))
put("gguf", "counts", gguf(counts=(1 << 63, 1 << 63)))
put("gguf", "array_len", gguf()[:16] + struct.pack("<Q", 1) + gstr("a") + struct.pack("<IIQ", 9, 8, 1 << 61))
put("gguf", "overflow", gguf([], [("w", [1 << 32, 1 << 32], 0, 0, 0)], 64))
put("gguf", "dims5", gguf([], [("w", [1] * 5, 0, 0, 4)]))
put("gguf", "odd_rows", gguf([], [("w", [33], 8, 0, 34)]))
put("gguf", "unknown_type", gguf([], [("w", [32], 4, 0, 18)]))
put("gguf", "hole", gguf([], [W32, ("v", [4, 2], 0, 64, 32)]))
put("gguf", "short", gguf([ARCH], [W32], 31))
put("gguf", "name64", gguf([], [("n" * 64, [1], 0, 0, 4)]))
put("gguf", "control", gguf([("a\nb", 4, 1)]))
put("gguf", "name", b"model-00002-of-00003.gguf")
