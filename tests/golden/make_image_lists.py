#!/usr/bin/env python3
"""Questions with several pictures, and what transformers' LLaVA makes of them: image_lists.jsonl.

usage: make_image_lists.py ZOO > image_lists.jsonl

Needs torch, transformers, sentencepiece, pillow, torchvision (by way of measure_zoo_uq.py). The
program and its tests do not. Each line is a record with the option probabilities "p" of the model
`dense`, clean.
"""
import json
import sys

import numpy as np
import torch
from PIL import Image
from measure_zoo_uq import PATCHES, SYSTEM, Zoo, normalized, question

A, B, C = "images/scn_0003.jpg", "images/cnt_0172.png", "images/dia_0423.jpg"
CHOICES = ["red", "blue", "a circle", "three"]
RECORDS = [
    {"id": "one", "image": A, "question": "What is to be seen?"},
    {"id": "two", "image": [A, B], "question": "What is to be seen?"},
    {"id": "turned", "images": [B, A], "question": "What is to be seen?"},
    {"id": "placed", "images": [A, B], "question": "What is in <image>, but not in <image>?"},
    {"id": "mixed", "images": [A, B], "question": "What else is in <image>?"},
    {"id": "named", "images": [A, B, C], "question": "What do <image 3> and <image 1> share?"},
    {"id": "twice", "images": [C, C], "question": "What is the same?"},
]
# Where each stands in the text, by hand; the picture's name between the pieces.
PLACED = {
    "one": [A, "\n", "What is to be seen?"],
    "two": [A, " ", B, "\n", "What is to be seen?"],
    "turned": [B, " ", A, "\n", "What is to be seen?"],
    "placed": ["What is in ", A, ", but not in ", B, "?"],
    "mixed": [A, "\n", "What else is in ", B, "?"],
    "named": [A, " ", C, "\n", "What do <image 3> and <image 1> share?"],
    "twice": [C, " ", C, "\n", "What is the same?"],
}


def encode(sp, pieces):
    """Ids, 1000 in the places of patches, and the pictures in order."""
    ids, pictures, text = [1], [], ""
    for piece in pieces:
        if piece in (A, B, C):
            ids += sp.encode(text) + [1000] * PATCHES
            pictures.append(piece)
            text = ""
        else:
            text += piece
    return ids + sp.encode(text), pictures


@torch.no_grad()
def main():
    zoo = Zoo(sys.argv[1])
    model = zoo.models["dense"]
    for r in RECORDS:
        r["choices"] = CHOICES
        tail = question(r)[len(r["question"]):] + " ASSISTANT:"
        ids, pictures = encode(zoo.sp, [f"{SYSTEM} USER: ", *PLACED[r["id"]], tail])
        px = []
        for name in pictures:
            with Image.open(f"{sys.argv[1]}/data/{name}") as f:
                px.append(normalized(np.array(f.convert("RGB")).transpose(2, 0, 1).copy()))
        e = model.model.language_model.embed_tokens(torch.tensor([ids]))
        rows = model.model.multi_modal_projector(zoo.features(px)).reshape(-1, e.shape[-1])
        e[0, torch.tensor(ids) == 1000] = rows
        h = model.model.language_model(inputs_embeds=e, use_cache=False).last_hidden_state
        z = model.lm_head(h[:, -1])[0, zoo.letters].double().numpy()
        p = np.exp(z - z.max())
        r["p"] = [float(x) for x in p / p.sum()]
        print(json.dumps(r))


if __name__ == "__main__":
    main()
