#!/usr/bin/env python3
"""Turn a data set's Parquet files into JSON lines and pictures that uqmerge reads. Needs pyarrow.

A column stands for a key of the records; where a set's columns have other names, say which:

    parquet-to-jsonl.py --out textvqa textvqa/data/validation-*.parquet --id question_id
    parquet-to-jsonl.py --out ai2d ai2d/data/test-*.parquet --choices options

writes textvqa/textvqa.jsonl and textvqa/images/. Pictures are kept byte for byte, as files named by
the record's id; one that is the same as an earlier one is not written again. Records without an id
are numbered from 0 over all files, in the order in which the files are given. A record with several
pictures is left out, with a warning: a question has one.
"""
import argparse
import hashlib
import json
import os
import re
import sys

KEYS = ["id", "image", "question", "hint", "choices", "answer", "answers", "category"]
ENDINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", help="Parquet files, in order")
    parser.add_argument("--out", required=True, help="a folder to make; its name is the set's")
    for key in KEYS:
        parser.add_argument(f"--{key}", default=key, metavar="COLUMN",
                            help=f"the column that holds {key}; default {key}")
    parser.add_argument("--options", metavar="COLUMNS",
                        help="columns that hold one choice each, e.g. A,B,C,D, instead of --choices")
    parser.add_argument("--limit", type=int, help="so many records at most")
    return parser.parse_args()


def picture_bytes(value):
    """Bytes of a picture as data sets store it: bytes, or {"bytes", "path"}; a list of one of these.
    None: there is none."""
    if isinstance(value, list):
        value = [v for v in value if v is not None]
        if len(value) > 1:
            raise ValueError(f"{len(value)} pictures")
        value = value[0] if value else None
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is not None and not isinstance(value, bytes):
        raise ValueError("a picture that is neither bytes nor a struct with bytes")
    return value


class Pictures:
    def __init__(self, folder):
        self.folder, self.known = folder, {}

    def put(self, record_id, data):
        digest = hashlib.sha256(data).digest()
        if digest not in self.known:
            ending = next((e for magic, e in ENDINGS.items() if data.startswith(magic)), None)
            if ending is None:
                raise ValueError("a picture that is no JPEG, PNG or WebP file")
            name = re.sub(r"[^A-Za-z0-9_-]", "_", record_id)[:64] + ending
            if name in self.known.values():
                name = digest.hex()[:16] + "-" + name
            os.makedirs(self.folder, exist_ok=True)
            with open(os.path.join(self.folder, name), "xb") as f:
                f.write(data)
            self.known[digest] = name
        return "images/" + self.known[digest]


def plain(value):
    """Text of a scalar; None and text stay."""
    return value if value is None or isinstance(value, (str, int, list, dict)) else str(value)


def choices_of(row, options):
    if options.options:
        return [plain(row[name]) for name in options.options.split(",")]
    value = row.get(options.choices)
    if isinstance(value, str):  # a list that was stored as text
        value = json.loads(value.replace("'", '"')) if value.startswith("[") else [value]
    return value


def record_of(row, number, pictures, options):
    record_id = str(row[options.id]) if row.get(options.id) is not None else str(number)
    data = picture_bytes(row.get(options.image))
    record = {"id": record_id, "image": None if data is None else pictures.put(record_id, data),
              "question": row[options.question]}
    for key in ("hint", "answer", "answers", "category"):
        value = plain(row.get(getattr(options, key)))
        if value is not None:
            record[key] = value
    choices = choices_of(row, options)
    if choices:
        record["choices"] = choices
    return record


def rows_of(files):
    import pyarrow.parquet

    for path in files:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=64):
            yield from batch.to_pylist()


def main():
    options = arguments()
    os.makedirs(options.out)
    pictures = Pictures(os.path.join(options.out, "images"))
    name = os.path.basename(os.path.normpath(options.out)) + ".jsonl"
    n_left_out = 0
    with open(os.path.join(options.out, name + ".part"), "x", encoding="utf-8") as out:
        for number, row in enumerate(rows_of(options.files)):
            if options.limit is not None and number >= options.limit:
                break
            try:
                record = record_of(row, number, pictures, options)
            except ValueError as error:
                print(f"record {number}: left out: {error}", file=sys.stderr)
                n_left_out += 1
                continue
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
    os.rename(out.name, os.path.join(options.out, name))
    if n_left_out:
        print(f"{n_left_out} records were left out", file=sys.stderr)


if __name__ == "__main__":
    main()
