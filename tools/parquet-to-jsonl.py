#!/usr/bin/env python3
"""Turn a data set's Parquet files into JSON lines and pictures that uqmerge reads. Needs pyarrow.

A column stands for a key of the records; where a set's columns have other names, say which:

    parquet-to-jsonl.py --out textvqa textvqa/data/validation-*.parquet --id question_id
    parquet-to-jsonl.py --out ai2d ai2d/data/test-*.parquet --choices options
    parquet-to-jsonl.py --out seedbench data/test-*.parquet --id question_id \\
        --options choice_a,choice_b,choice_c,choice_d
    parquet-to-jsonl.py --out mmmu */validation-*.parquet --choices options \\
        --image image_1,image_2,image_3,image_4,image_5,image_6,image_7
    parquet-to-jsonl.py --out gqa testdev_balanced_instructions/*.parquet \\
        --pictures testdev_balanced_images/*.parquet --image imageId

The first writes textvqa/textvqa.jsonl and textvqa/images/. Pictures are kept byte for byte, as
files named by the record's id; one that is the same as an earlier one is not written again. Records
without an id are numbered from 0 over all files, in the order in which the files are given. Of a
record with choices the answer is a letter, an index (digits are one) or a choice's text. A record
that cannot be turned is left out, with a warning.
"""
import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import sys

try:
    import pyarrow.parquet
except ImportError:
    pyarrow = None

KEYS = ["id", "image", "question", "hint", "choices", "answer", "answers", "category"]
ENDINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp"}
MAX_PICTURES = 64  # of a record, and ...
MAX_CHOICES = 26  # ... choices: what the reader takes


def arguments():
    about, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=more,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="Parquet files, in order")
    parser.add_argument("--out", required=True, help="a folder to make; its name is the set's")
    more = {"image": "; of several, by commas, each holds a picture", "category": ", else dataset"}
    for key in KEYS:
        parser.add_argument(f"--{key}", metavar="COLUMN",
                            help=f"the column that holds {key}; default {key}{more.get(key, '')}")
    parser.add_argument("--options", metavar="COLUMNS",
                        help="columns of one choice each, e.g. A,B,C,D, instead of --choices")
    parser.add_argument("--pictures", nargs="+", metavar="FILE", default=[],
                        help="Parquet files with columns id and image; --image then holds such ids")
    parser.add_argument("--limit", type=int, help="so many records at most")
    return parser.parse_args()


def columns_of(options, names, path):
    """The columns of each key; none where the file lacks one that nobody asked for."""
    columns = {}
    for key in KEYS + ["options"]:
        given = getattr(options, key)
        wanted = [given or key]
        if key == "category" and not given and key not in names:
            wanted = ["dataset"]
        elif key == "options":
            wanted = given.split(",") if given else []
        elif key == "image":
            wanted = wanted[0].split(",")
        missing = [column for column in wanted if column not in names]
        if missing and (given or key == "question"):
            sys.exit(f"{path}: no column is called {missing[0]}; there are {', '.join(names)}")
        columns[key] = [] if missing else wanted
    return columns


def plain(value):
    """A value as JSON has it: no NaN, and what is neither text nor a whole number is text."""
    if isinstance(value, bytes):
        raise ValueError("bytes where a text should be")
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if value is None or value != value:
        return None
    return value if isinstance(value, (str, int)) and not isinstance(value, bool) else str(value)


# ---- pictures ----


def picture_bytes(value):
    """Bytes of a picture as sets store it: bytes, or {"bytes", "path"}. None: there is none."""
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            raise ValueError(f"its picture {value['path']} is not in the file")
        value = value.get("bytes")
    if value is not None and not isinstance(value, bytes):
        raise ValueError("a picture that is neither bytes nor a struct with bytes")
    return value


def pictures_of(values):
    """Those of a record, each value a picture or a list of them."""
    data = []
    for value in values:
        data += map(picture_bytes, value if isinstance(value, list) else [value])
    while data and data[-1] is None:
        data.pop()
    if None in data:
        raise ValueError(f"picture {data.index(None) + 1} of {len(data)} is missing")
    if len(data) > MAX_PICTURES:
        raise ValueError(f"{len(data)} pictures, more than {MAX_PICTURES}")
    return data


class Pictures:
    def __init__(self, folder):
        self.folder, self.known, self.names, self.by_id = folder, {}, set(), {}

    def put(self, name, data):
        digest = hashlib.sha256(data).digest()
        if digest not in self.known:
            ending = next((e for magic, e in ENDINGS.items() if data.startswith(magic)), None)
            if ending is None:
                raise ValueError("a picture that is no JPEG, PNG or WebP file")
            name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] + ending
            if name in self.names:
                name = digest.hex()[:16] + "-" + name
            os.makedirs(self.folder, exist_ok=True)
            with open(os.path.join(self.folder, name), "xb") as f:
                f.write(data)
            self.names.add(name)
            self.known[digest] = name
        return "images/" + self.known[digest]

    def put_all(self, record_id, values):
        """Where they are: none, a path, or a list."""
        data = pictures_of(values)
        paths = [self.put(record_id if len(data) == 1 else f"{record_id}_{k + 1}", d)
                 for k, d in enumerate(data)]
        return paths if len(paths) > 1 else paths[0] if paths else None

    def find(self, picture_id):
        if picture_id not in self.by_id:
            raise ValueError(f"no picture has the id {picture_id}")
        return self.by_id[picture_id]


# ---- choices and answers ----


def choice_list(value):
    """Choices as data sets store them: a list, a list as text, or a struct of or with a list."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (SyntaxError, ValueError):
            value = json.loads(value)
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        value = value.get("text", lists[0] if lists else list(value.values()))
    return value if isinstance(value, list) else [] if value is None else [value]


def choices_of(row, columns):
    """Up to the first that is none, as the reader takes them."""
    if columns["options"]:
        values = [row[column] for column in columns["options"]]
    else:
        values = choice_list(row[columns["choices"][0]]) if columns["choices"] else []
    choices = []
    for value in map(plain, values):
        if value is None or str(value).lower() == "nan":
            break
        if isinstance(value, (list, dict)):
            raise ValueError("a choice that is no text")
        choices.append(str(value))
    if len(choices) > MAX_CHOICES:
        raise ValueError(f"{len(choices)} choices, more than {MAX_CHOICES}")
    return choices


def label_of(answer, choices):
    """An answer among choices as an index; None: there is none."""
    if answer is None or str(answer).strip().lower() in ("", "nan"):
        return None
    text = str(answer).strip()
    if re.fullmatch(r"-?[0-9]+(\.0)?", text):
        index = int(float(text))
        if index < 0:  # what a hidden label looks like
            return None
    elif answer in choices:
        index = choices.index(answer)
    elif re.fullmatch(r"[A-Z]", text):
        index = ord(text) - ord("A")
    else:
        raise ValueError("its answer is neither a letter, an index nor a choice")
    if index >= len(choices):
        raise ValueError("its answer lies beyond the choices")
    return index


def answers_of(value):
    """A list of texts or of {"answer", ...}; also from a struct of lists."""
    if isinstance(value, dict):
        value = value.get("answer", value)
    if not isinstance(value, list):
        return value
    return [v for v in value if v is not None]


# ---- records ----


def record_of(row, columns, number, pictures, joined):
    texts = {key: plain(row[columns[key][0]]) if columns[key] else None
             for key in KEYS if key not in ("image", "choices")}
    if texts["question"] in (None, ""):
        raise ValueError("it has no question")
    choices = choices_of(row, columns)
    record = {"id": str(number if texts["id"] is None else texts["id"]), "image": None,
              "question": str(texts["question"])}
    for key in ("hint", "category"):
        if texts[key] is not None:
            record[key] = str(texts[key])
    if choices:
        record["choices"] = choices
        record["answer"] = label_of(texts["answer"], choices)
    elif texts["answer"] is not None:
        record["answer"] = answers_of(texts["answer"])
    if texts["answers"] is not None:
        record["answers"] = answers_of(texts["answers"])
    values = [row[column] for column in columns["image"]]
    if joined:
        known = values and values[0] is not None
        record["image"] = pictures.find(str(values[0])) if known else None
    else:
        record["image"] = pictures.put_all(record["id"], values)
    return record


def rows_of(files, options=None):
    """Rows, and with options where their keys are."""
    for path in files:
        try:
            table = pyarrow.parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            sys.exit(f"{path}: {error}")
        names = table.schema_arrow.names
        columns = columns_of(options, names, path) if options else None
        for batch in table.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                yield row, columns


def convert(options):
    pictures = Pictures(os.path.join(options.out, "images"))
    for row, _ in rows_of(options.pictures):
        if not {"id", "image"} <= set(row):
            sys.exit(f"--pictures: no columns are called id and image; there are {', '.join(row)}")
        try:
            pictures.by_id[str(row["id"])] = pictures.put_all(str(row["id"]), [row["image"]])
        except ValueError as error:
            print(f"picture {row['id']}: left out: {error}", file=sys.stderr)
    name = os.path.basename(os.path.normpath(options.out)) + ".jsonl"
    n_left_out = n_written = 0
    with open(os.path.join(options.out, name + ".part"), "x", encoding="utf-8") as out:
        for number, (row, columns) in enumerate(rows_of(options.files, options)):
            if options.limit is not None and number >= options.limit:
                break
            try:
                record = record_of(row, columns, number, pictures, bool(options.pictures))
            except ValueError as error:
                print(f"record {number}: left out: {error}", file=sys.stderr)
                n_left_out += 1
                continue
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            n_written += 1
    os.rename(out.name, os.path.join(options.out, name))
    if n_left_out:
        print(f"{n_left_out} records were left out", file=sys.stderr)
    if not n_written:
        sys.exit(f"{options.out}: no record is left")


def main():
    options = arguments()
    if pyarrow is None:
        sys.exit("pyarrow is not there; pip install pyarrow")
    try:
        os.makedirs(options.out)
    except OSError as error:
        sys.exit(f"{options.out}: {error.strerror}")
    try:
        convert(options)
    except BaseException:
        shutil.rmtree(options.out)  # it was made here
        raise


if __name__ == "__main__":
    main()
