#!/usr/bin/env python3
"""tools/parquet-to-jsonl.py on the layouts that data sets have, as TAP: test_parquet.py TOOL

pyarrow need not be there: a module in its place gives the rows of files that hold Python literals.
"""
import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import types


class ParquetFile:
    def __init__(self, path):
        with open(path) as f:
            self.rows = eval(f.read(), {"nan": float("nan")})
        self.schema_arrow = types.SimpleNamespace(names=list(self.rows[0]))

    def iter_batches(self, batch_size):
        for at in range(0, len(self.rows), batch_size):
            rows = self.rows[at:at + batch_size]
            yield types.SimpleNamespace(to_pylist=lambda rows=rows: rows)


parquet = types.ModuleType("pyarrow.parquet")
parquet.ParquetFile = ParquetFile
sys.modules["pyarrow"] = types.ModuleType("pyarrow")
sys.modules["pyarrow"].parquet = sys.modules["pyarrow.parquet"] = parquet
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("tool", sys.argv[1])
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
PNG, JPEG, WEBP = b"\x89PNG\r\n1", b"\xff\xd8\xff\xe0", b"RIFF----WEBP"
count = 0


def convert(files, *arguments):
    """What comes out: the records, the pictures' names, what was said, the exit status."""
    said, status, back = io.StringIO(), 0, os.getcwd()
    with tempfile.TemporaryDirectory(prefix="uqm-parquet.") as work:
        os.chdir(work)
        for name, rows in files.items():
            with open(name, "w") as f:
                f.write(repr(rows))
        sys.argv = ["parquet-to-jsonl.py", "--out", "set", *arguments]
        try:
            with contextlib.redirect_stderr(said):
                tool.main()
        except SystemExit as stop:  # its text is what Python would say on standard error
            print(stop, file=said)
            status = 1
        records = None
        if os.path.exists("set/set.jsonl"):
            with open("set/set.jsonl") as f:
                records = [json.loads(line) for line in f]
        names = sorted(os.listdir("set/images")) if os.path.isdir("set/images") else []
        os.chdir(back)
    return records, names, said.getvalue(), status


def check(name, got, expected):
    global count
    count += 1
    print("ok" if got == expected else "not ok", count, "-", name)
    if got != expected:
        print("# got     ", got)
        print("# expected", expected)


def choices_and_label(rows, *arguments):
    records, _, said, _ = convert({"a": [{"question": "q", **r} for r in rows]}, "a", *arguments)
    return [(r.get("choices"), r.get("answer")) for r in records], said


def pictures():
    rows = [{"question": "q", "image": {"bytes": PNG, "path": "x.png"}},
            {"question": "r", "image": {"bytes": PNG, "path": None}},
            {"question": "s", "image": None},
            {"question": "t", "image": JPEG},
            {"question": "u", "image": {"bytes": None, "path": "far.jpg"}},
            {"question": "v", "image": {"bytes": b"GIF8", "path": None}},
            {"question": "", "image": None}]
    records, names, said, status = convert({"a": rows}, "a")
    check("a picture is a struct, bytes or nothing, and equal ones are written once",
          ([(r["id"], r["image"]) for r in records], names, status),
          ([("0", "images/0.png"), ("1", "images/0.png"), ("2", None), ("3", "images/3.jpg")],
           ["0.png", "3.jpg"], 0))
    check("a record without its picture, with a foreign one or without question is left out",
          said.splitlines(),
          ["record 4: left out: its picture far.jpg is not in the file",
           "record 5: left out: a picture that is no JPEG, PNG or WebP file",
           "record 6: left out: it has no question", "3 records were left out"])

    rows = [{"id": "v", "question": "q", "image": [{"bytes": PNG}, {"bytes": JPEG}, None]},
            {"id": "w", "question": "q", "image": [{"bytes": WEBP}]},
            {"id": "x", "question": "q", "image": []},
            {"id": "y", "question": "q", "image": [None, {"bytes": PNG}]}]
    records, _, said, _ = convert({"a": rows}, "a")
    check("a list of pictures becomes a list of paths", [r["image"] for r in records],
          [["images/v_1.png", "images/v_2.jpg"], "images/w.webp", None])
    check("a picture that is missing before others is said", said.splitlines()[0],
          "record 3: left out: picture 1 of 2 is missing")

    rows = [{"id": "m", "question": "<image 2>", "image_1": {"bytes": PNG},
             "image_2": {"bytes": JPEG}, "image_3": None}]
    records, _, _, _ = convert({"a": rows}, "a", "--image", "image_1,image_2,image_3")
    check("several columns are a record's pictures", records[0]["image"],
          ["images/m_1.png", "images/m_2.jpg"])

    files = {"q": [{"id": "7", "imageId": "n1", "question": "q", "answer": "yes"},
                   {"id": "8", "imageId": "n2", "question": "r", "answer": "no"}],
             "p": [{"id": "n1", "image": {"bytes": PNG, "path": "n1.jpg"}},
                   {"id": "n2", "image": {"bytes": b"GIF8", "path": "n2.gif"}}]}
    records, _, said, _ = convert(files, "q", "--pictures", "p", "--image", "imageId")
    check("pictures may lie in files of their own",
          (records, said.splitlines()[:2]),
          ([{"id": "7", "image": "images/n1.png", "question": "q", "answer": "yes"}],
           ["picture n2: left out: a picture that is no JPEG, PNG or WebP file",
            "record 1: left out: no picture has the id n2"]))


def choices():
    got, _ = choices_and_label(
        [{"options": ["x", "y"], "answer": "1"},
         {"options": "['it\\'s', \"a \\\"b\\\"\"]", "answer": "B"},
         {"options": '["x", null]', "answer": 0}, {"options": "[]", "answer": "free"},
         {"options": {"text": ["x", "y"], "label": ["A", "B"]}, "answer": "y"},
         {"options": {"A": "x", "B": "y", "C": None}, "answer": -1},
         {"options": [1, 2.5], "answer": 1.0}], "--choices", "options")
    check("choices are a list, its text or a struct, the label a letter, an index or a text", got,
          [(["x", "y"], 1), (["it's", 'a "b"'], 1), (["x"], 0), (None, "free"), (["x", "y"], 1),
           (["x", "y"], None), (["1", "2.5"], 1)])
    got, said = choices_and_label(
        [{"A": "x", "B": "y", "C": None, "D": "nan", "answer": "B"},
         {"A": "x", "B": "y", "C": None, "D": "nan", "answer": "D"},
         {"A": "x", "B": "y", "C": "z", "D": None, "answer": "maybe"}],
        "--options", "A,B,C,D")
    check("columns of choices end at the first that is none", got, [(["x", "y"], 1)])
    check("a label that fits no choice is said", said.splitlines()[:2],
          ["record 1: left out: its answer lies beyond the choices",
           "record 2: left out: its answer is neither a letter, an index nor a choice"])


def answers():
    rows = [{"question": "q",
             "answers": [{"answer": "a", "answer_id": 1}, {"answer": "b", "answer_id": 2}],
             "dataset": "HME100k", "answer": None, "hint": float("nan")},
            {"question": "q", "answers": {"answer": ["a", None, "b"], "answer_id": [1, 2, 3]},
             "dataset": "x", "answer": True, "hint": ""},
            {"question": "q", "answers": None, "dataset": None, "answer": ["p", "q"], "hint": None}]
    records, _, _, _ = convert({"a": rows}, "a")
    check("answers are texts, structs or a struct of lists, and a set's part is its category",
          records,
          [{"id": "0", "image": None, "question": "q", "category": "HME100k",
            "answers": [{"answer": "a", "answer_id": 1}, {"answer": "b", "answer_id": 2}]},
           {"id": "1", "image": None, "question": "q", "hint": "", "category": "x",
            "answer": "True", "answers": ["a", "b"]},
           {"id": "2", "image": None, "question": "q", "answer": ["p", "q"]}])


def refusals():
    rows = [{"text": "q", "id": "z"}]
    check("a column that is not there is named",
          convert({"a": rows}, "a")[2:],
          ("a: no column is called question; there are text, id\n", 1))
    check("so is one that was asked for",
          convert({"a": rows}, "a", "--question", "text", "--hint", "h")[2:],
          ("a: no column is called h; there are text, id\n", 1))
    records, _, _, _ = convert({"a": rows, "b": [{"text": "r"}]}, "a", "b", "--question", "text")
    check("files need not have the same columns", [(r["id"], r["question"]) for r in records],
          [("z", "q"), ("1", "r")])


pictures()
choices()
answers()
refusals()
check("a set without records leaves nothing behind",
      convert({"a": [{"question": None}]}, "a")[0::2],
      (None, "record 0: left out: it has no question\n1 records were left out\n"
             "set: no record is left\n"))
print(f"1..{count}")
