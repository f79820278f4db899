#!/usr/bin/env python3
"""Prompts a second of `uqmerge uq` beside PyTorch on the same model, records and perturbations.

usage: compare_uq.py UQMERGE ZOO [--samples N] [--rounds R] [--threads T]

loop     one forward pass a perturbation with transformers, as the paper's code works: decode,
         AugMix, prompt, tokenizer, model, six logits
batched  everything that can be done for many prompts at once is: pictures on T threads at a time, one pass
         of the vision tower for all of them, prompts sorted by length, padded and run 64 at a time
         with scaled_dot_product_attention, the head on the last position alone; in float32 and in
         bfloat16

They take turns; PyTorch's times are without loading model and libraries, the program's are of
the whole process. Wall-clock and CPU seconds, medians, and ratios to the program's. Needs torch,
torchvision, transformers and Pillow; neither the program nor its tests need this script.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning would cost it time on a busy machine

import torch
from PIL import Image
from torchvision.transforms import v2
from transformers import AutoTokenizer, LlavaForConditionalGeneration

REPEATS, BATCH = 4, 64
SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. The assistant "
          "gives helpful, detailed, and polite answers to the user's questions.")
PREFIXES = [who + " are a " + what + end
            for who, end in [("you", ""), ("You", ""), ("You", ".")]
            for what in ["helpful assistant", "question-answering assistant", "nice assistant"]]
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
augmix = v2.AugMix()


def pixels(path, side):
    """One perturbed picture, padded, resized, normalised."""
    image = v2.functional.pil_to_tensor(Image.open(path).convert("RGB"))
    image = v2.functional.to_pil_image(augmix(image))
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), (122, 116, 104))
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    square = square.resize((side, side), Image.Resampling.BICUBIC)
    return (v2.functional.pil_to_tensor(square) / 255 - MEAN) / STD


def prompt(record, n_patches):
    choices = record["choices"] + ["I don't know", "None of the above"]
    lines = [record["hint"]] if record.get("hint") is not None else []
    lines += [record["question"]] + [f"{'ABCDEF'[i]}. {c}" for i, c in enumerate(choices)]
    lines += ["Answer with the option's letter from the given choices directly."]
    marks = "<image>" * n_patches
    return f"{random.choice(PREFIXES)}{SYSTEM} USER: {marks}\n" + "\n".join(lines) + " ASSISTANT:"


class Asker:
    def __init__(self, folder, dtype, attention):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.padding_side = "left"
        self.model = LlavaForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention)
        self.model.eval()
        for name, module in self.model.named_modules():
            if name.endswith("self_attn") and "language_model" in name:
                module.attention_dropout = 0.1
                module.training = True  # dropout there and nowhere else
        vision = self.model.config.vision_config
        self.side = vision.image_size
        self.n_patches = (vision.image_size // vision.patch_size) ** 2
        self.dtype = dtype
        self.options = [self.tokenizer(letter, add_special_tokens=False).input_ids[-1] for letter in "ABCDEF"]

    def uncertainty(self, logits):
        """logits (records, passes, 6)"""
        p = logits.double().softmax(-1)
        entropy = lambda q: -(q * (q + 1e-10).log()).sum(-1)
        return (entropy(p.mean(1)) - entropy(p).mean(1)).mean().item()

    @torch.inference_mode()
    def loop(self, records):
        rows = []
        for r in records:
            for _ in range(REPEATS):
                inputs = self.tokenizer(prompt(r, self.n_patches), return_tensors="pt")
                picture = pixels(r["path"], self.side)[None].to(self.dtype)
                out = self.model(**inputs, pixel_values=picture)
                rows.append(out.logits[0, -1, self.options])
        return self.uncertainty(torch.stack(rows).view(len(records), REPEATS, 6))

    @torch.inference_mode()
    def batched(self, records, n_threads):
        asked = [(i, r) for i, r in enumerate(records) for _ in range(REPEATS)]
        torch.set_num_threads(1)  # a picture a thread
        with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
            pictures = list(pool.map(lambda item: pixels(item[1]["path"], self.side), asked))
        torch.set_num_threads(n_threads)
        features = self.model.get_image_features(torch.stack(pictures).to(self.dtype))
        features = getattr(features, "pooler_output", features)
        texts = [prompt(r, self.n_patches) for _, r in asked]
        order = sorted(range(len(asked)), key=lambda i: len(texts[i]))
        logits = torch.empty(len(asked), 6)
        embed = self.model.get_input_embeddings()
        for at in range(0, len(order), BATCH):
            some = order[at:at + BATCH]
            inputs = self.tokenizer([texts[i] for i in some], return_tensors="pt", padding=True)
            ids, width = inputs.input_ids, self.model.config.text_config.hidden_size
            hidden = embed(ids)
            places = (ids == self.model.config.image_token_id)[..., None].expand_as(hidden)
            given = torch.cat([features[i].reshape(-1, width) for i in some]).to(hidden.dtype)
            hidden = hidden.masked_scatter(places, given)
            out = self.model(inputs_embeds=hidden, attention_mask=inputs.attention_mask, logits_to_keep=1)
            logits[some] = out.logits[:, -1, self.options].float()
        return self.uncertainty(logits.view(len(records), REPEATS, 6))


def timed(work):
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    start = time.perf_counter()
    value = work()
    wall = time.perf_counter() - start
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(a.ru_utime + a.ru_stime - b.ru_utime - b.ru_stime for a, b in zip(after, before))
    return wall, cpu, value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("uqmerge")
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("--model", default="general")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    random.seed(0)
    torch.manual_seed(0)

    data, folder = args.zoo / "data", args.zoo / "models" / args.model
    lines = (data / "heldin/mmb.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["image"]][:args.samples]
    for r in records:
        r["path"] = data / r["image"]
    subset = pathlib.Path(sys.argv[0]).resolve().parent / "compare_uq.tmp.jsonl"

    def program():
        out = subprocess.run([args.uqmerge, "uq", folder, "--data", f"mmb={subset}", "--threads", str(args.threads),
                              "--json", "--progress", "never"], check=True, capture_output=True).stdout
        return json.loads(out)["models"][0]["uq"]

    eager = Asker(folder, torch.float32, "eager")
    single, half = (Asker(folder, dtype, "sdpa") for dtype in (torch.float32, torch.bfloat16))
    contestants = {
        "uqmerge": program,
        "loop": lambda: eager.loop(records),
        "batched float32": lambda: single.batched(records, args.threads),
        "batched bfloat16": lambda: half.batched(records, args.threads),
    }
    times = {name: [] for name in contestants}
    try:
        subset.write_text("".join(json.dumps({**{k: v for k, v in r.items() if k != "path"},
                                              "image": str(r["image"])}) + "\n" for r in records))
        link = subset.parent / "images"
        link.symlink_to((data / "images").resolve())
        try:
            for work in contestants.values():
                work()  # warm
            for _ in range(args.rounds):
                for name, work in contestants.items():
                    times[name].append(timed(work))
        finally:
            link.unlink()
    finally:
        subset.unlink(missing_ok=True)

    n = len(records) * REPEATS
    wall = {name: statistics.median(t[0] for t in runs) for name, runs in times.items()}
    cpu = {name: statistics.median(t[1] for t in runs) for name, runs in times.items()}
    for name, runs in times.items():
        print(json.dumps({"case": name, "prompts": n, "wall_s": round(wall[name], 3), "cpu_s": round(cpu[name], 3),
                          "prompts_per_s": round(n / wall[name], 1),
                          "wall_to_uqmerge": round(wall[name] / wall["uqmerge"], 2),
                          "cpu_to_uqmerge": round(cpu[name] / cpu["uqmerge"], 2),
                          "uq": round(runs[0][2], 4)}))


main()
