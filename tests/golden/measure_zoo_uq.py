#!/usr/bin/env python3
"""The uncertainty of the zoo's models in PyTorch and torchvision, written from the zoo's README: an
implementation independent of the program, to see how far single runs of the measure scatter.

usage: measure_zoo_uq.py ZOO FIRST_REPEAT N_REPEATS OUT.jsonl

Needs torch, torchvision, transformers, sentencepiece, pillow. The program and its tests do not.
Appends one line a repeat: for each model the mean of every set, their mean ("average"), and the
total and data entropies. Checks its prompts, pixels and option probabilities against the zoo's
stored samples first.
"""
import json
import os
import sys
import time

import numpy as np
import sentencepiece as spm
import torch
from PIL import Image
from torchvision.transforms import v2
from transformers import LlavaForConditionalGeneration

SETS = ["mmb", "oodcv", "sci", "seed", "ai2d"]
MODELS = ["reason", "know", "knowmc", "chat", "ocr", "dense", "general", "textonly", "region", "textcap"]
KINDS = ["helpful", "question-answering", "nice"]
PREFIXES = [f"{a} are a {k} assistant{c}" for a, c in (("you", ""), ("You", ""), ("you", "."))
            for k in KINDS]
SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives "
          "helpful, detailed, and polite answers to the user's questions.")
ASK = "\nAnswer with the option's letter from the given choices directly."
J, DROPOUT, PATCHES = 4, 0.1, 16
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def normalized(planes):
    """uint8 (3, H, W) to f32 (3, 56, 56): pad to a square, bicubic, normalise."""
    x = planes.transpose(1, 2, 0)
    h, w, _ = x.shape
    n = max(h, w)
    square = Image.new("RGB", (n, n), (122, 116, 104))
    square.paste(Image.fromarray(np.ascontiguousarray(x)), ((n - w) // 2, (n - h) // 2))
    small = np.array(square.resize((56, 56), Image.BICUBIC))
    return (torch.from_numpy(small).permute(2, 0, 1).float() / 255 - MEAN) / STD


def question(r):
    t = (r["hint"] + "\n" if r.get("hint") else "") + r["question"]
    for letter, choice in zip("ABCDEF", r["choices"] + ["I don't know", "None of the above"]):
        t += f"\n{letter}. {choice}"
    return t + ASK


def encode(sp, r, prefix):
    head, tail = f"{prefix}{SYSTEM} USER:", f"{question(r)} ASSISTANT:"
    if not r["image"]:
        return [1] + sp.encode(f"{head} {tail}"), -1
    a = [1] + sp.encode(head + " ")
    return a + [1000] * PATCHES + sp.encode("\n" + tail), len(a)


def entropy(p):
    return -(p * np.log(p + 1e-10)).sum(-1)


class Zoo:
    def __init__(self, zoo):
        self.zoo = zoo
        self.sp = spm.SentencePieceProcessor(model_file=f"{zoo}/models/base/tokenizer.model")
        self.letters = [self.sp.piece_to_id("\u2581" + c) for c in "ABCDEF"]
        self.records = [(s, json.loads(line)) for s in SETS for line in open(f"{zoo}/data/heldin/{s}.jsonl")]
        names = {r["image"] for _, r in self.records if r["image"]}
        self.images = {n: np.array(Image.open(f"{zoo}/data/{n}").convert("RGB")).transpose(2, 0, 1).copy()
                       for n in names}
        self.models = {n: self.load(n) for n in ["base"] + MODELS}

    def load(self, name):
        m = LlavaForConditionalGeneration.from_pretrained(
            f"{self.zoo}/models/{name}", dtype=torch.float32, attn_implementation="eager")
        return m.eval()

    def dropout(self, model, rate):
        for layer in model.model.language_model.layers:
            layer.self_attn.attention_dropout = rate
            layer.self_attn.training = rate > 0

    def features(self, px):
        tower = self.models["base"].model.vision_tower
        return torch.cat([tower(torch.stack(px[k:k + 256]), output_hidden_states=True).hidden_states[-2][:, 1:]
                          for k in range(0, len(px), 256)])

    def letters_logits(self, model, prompts, feats):
        """prompts: (ids, where the picture begins or -1, its index)."""
        lm, proj = model.model.language_model, model.model.multi_modal_projector(feats)
        logits = np.zeros((len(prompts), 6))
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i][0]))
        for k in range(0, len(order), 64):
            part = order[k:k + 64]
            n = max(len(prompts[i][0]) for i in part)
            ids = torch.zeros(len(part), n, dtype=torch.long)
            mask = torch.zeros(len(part), n, dtype=torch.long)
            for b, i in enumerate(part):
                ids[b, :len(prompts[i][0])] = torch.tensor(prompts[i][0])
                mask[b, :len(prompts[i][0])] = 1
            e = lm.embed_tokens(ids)
            for b, i in enumerate(part):
                if prompts[i][1] >= 0:
                    e[b, prompts[i][1]:prompts[i][1] + PATCHES] = proj[prompts[i][2]]
            h = lm(inputs_embeds=e, attention_mask=mask, use_cache=False).last_hidden_state
            last = h[torch.arange(len(part)), mask.sum(1) - 1]
            logits[part] = model.lm_head(last)[:, self.letters].double().numpy()
        return logits

    @torch.no_grad()
    def check(self):
        stored = json.load(open(f"{self.zoo}/goldens/model/model.json"))["samples"]
        by_id = {r["id"]: r for _, r in self.records}
        n = 0
        for s in stored:
            r = by_id.get(s["id"])
            if r is None or s["model"] not in self.models or not s["image"] or "option_softmax" not in s:
                continue
            ids, at = encode(self.sp, r, s.get("prefix") or "")
            if ids != s["ids"]:
                print("other ids:", s["key"])
                continue
            model = self.models[s["model"]]
            self.dropout(model, 0.0)
            z = self.letters_logits(model, [(ids, at, 0)], self.features([normalized(self.images[r["image"]])]))[0]
            p = np.exp(z - z.max())
            off = np.abs(p / p.sum() - np.array(s["option_softmax"])).max()
            assert off < 1e-4, (s["key"], off)
            n += 1
        print("stored samples reproduced:", n, flush=True)

    @torch.no_grad()
    def run(self, repeat):
        torch.manual_seed(90000 + repeat)
        rng = np.random.default_rng(70000 + repeat)
        augmix = v2.AugMix()
        t0, px, prompts = time.time(), [], []
        for _, r in self.records:
            for _ in range(J):
                ids, at = encode(self.sp, r, PREFIXES[rng.integers(9)])
                if at >= 0:
                    px.append(normalized(augmix(torch.from_numpy(self.images[r["image"]])).numpy()))
                prompts.append((ids, at, len(px) - 1))
        feats, results = self.features(px), {}
        t1 = time.time()
        for name in MODELS:
            self.dropout(self.models[name], DROPOUT)
            z = self.letters_logits(self.models[name], prompts, feats).reshape(-1, J, 6)
            p = np.exp(z - z.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            total, data = entropy(p.mean(1)), entropy(p).mean(1)

            def sets(v):
                return {s: float(np.mean([x for x, (q, _) in zip(v, self.records) if q == s])) for s in SETS}
            u = sets(total - data)
            u["average"] = float(np.mean(list(u.values())))
            u["total"] = float(np.mean(list(sets(total).values())))
            u["data"] = float(np.mean(list(sets(data).values())))
            results[name] = u
        print(repeat, round(t1 - t0, 1), round(time.time() - t1, 1), results["knowmc"]["average"], flush=True)
        return {"repeat": repeat, "models": results}


def main():
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    zoo = Zoo(sys.argv[1])
    zoo.check()
    for repeat in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):
        line = zoo.run(repeat)
        with open(sys.argv[4], "a") as f:
            f.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
