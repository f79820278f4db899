#!/usr/bin/env python3
"""Score made-up answers with lmms-eval's own functions, for test_golden_metrics.

usage: make_metric_scores.py LMMS_EVAL > metric_scores.json

LMMS_EVAL: the sources of lmms-eval, tag v0.2.0.post1 (seedbench_2_plus: v0.2.2, the first that has
it). Its exact match is Hugging Face's metric of that name with ignore_case and ignore_punctuation,
written out here. Needs no package; the tests need neither this nor that.
"""
import importlib.util
import json
import pathlib
import random
import re
import string
import sys
import types

root = pathlib.Path(sys.argv[1]) / "lmms_eval/tasks"


def stub(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)


class Plain:
    """In place of filter classes that the modules inherit from."""

    def __init__(self, mapping_dict=None, default_value=None, *args, **kwargs):
        self.mapping_dict = mapping_dict


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, root / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for package in ["lmms_eval", "lmms_eval.tasks", "lmms_eval.tasks._task_utils", "lmms_eval.filters"]:
    stub(package)
stub("loguru", logger=None)
stub("numpy", argmax=lambda values: max(range(len(values)), key=lambda i: (values[i], -i)))
stub("yaml", safe_load=lambda text: {"metadata": {"interleaved_format": False}})
stub("lmms_eval.tasks._task_utils.file_utils", generate_submission_file=None)
stub("lmms_eval.filters.extraction", ExtendedRegexFilter=Plain)
stub("lmms_eval.filters.transformation", MapFilter=Plain)
sys.modules["lmms_eval.tasks._task_utils"].file_utils = sys.modules["lmms_eval.tasks._task_utils.file_utils"]
sys.modules["lmms_eval"].tasks = sys.modules["lmms_eval.tasks"]
sys.modules["lmms_eval.tasks"]._task_utils = sys.modules["lmms_eval.tasks._task_utils"]
load("lmms_eval.tasks._task_utils.vqa_eval_metric", "_task_utils/vqa_eval_metric.py")
textvqa = load("textvqa", "textvqa/utils.py")
vqav2 = load("vqav2", "vqav2/utils.py")
pope = load("pope", "pope/utils.py")
mmmu = load("mmmu", "mmmu/utils.py")
realworldqa = load("realworldqa", "realworldqa/utils.py")
seed = load("seed", "seedbench_2_plus/utils.py")
ocrbench = load("ocrbench", "ocrbench/utils.py")
ai2d = load("ai2d", "ai2d/utils.py")
scienceqa = load("scienceqa", "scienceqa/utils.py")


def exact(pred, gold):
    bare = str.maketrans("", "", string.punctuation)
    return float(pred.lower().translate(bare) == gold.lower().translate(bare))


def letter(record):
    return "ABCDEFGH"[record["answer"]]


def score_vqa(r, pred):
    return textvqa.textvqa_process_results({"question_id": 0, "answers": list(r["answers"])}, [pred])["exact_match"]


def score_vqav2(r, pred):
    answers = [{"answer": a, "answer_id": i} for i, a in enumerate(r["answers"])]
    return vqav2.vqav2_process_results({"question_id": 0, "answers": answers}, [pred])["exact_match"]


def score_pope(r, pred):
    return pope.pope_process_results({"question_id": 0, "answer": r["answers"][0]}, [pred])["pope_accuracy"]["score"]


def score_mmmu(r, pred):
    if "choices" not in r:
        return float(mmmu.eval_open(list(r["answers"]), mmmu.parse_open_response(pred)))
    index2ans, letters = mmmu.get_multi_choice_info(r["choices"])
    guessed = []
    mmmu.random = types.SimpleNamespace(choice=lambda options: guessed.append(1) or options[0])
    said = mmmu.parse_multi_choice_response(pred, letters, index2ans)
    return None if guessed else float(mmmu.eval_multi_choice(letter(r), said))


def score_realworldqa(r, pred):
    steps = [realworldqa.NumberWordsToDigitsFilter(), realworldqa.MultiChoiceRegexFilter()]
    said = steps[1].apply([steps[0].apply([[pred]], None)[0]], [{"question": r["question"]}])[0]
    return exact(said, r["answers"][0])


def score_seed(r, pred):
    doc = {"answer": letter(r), "question_image_type": "x", "question_id": 0}
    return seed.seed_aggregation_result([seed.seed_process_result(doc, [pred])["seedbench_2_plus_all"]])


def score_ocrbench(r, pred):
    doc = {"answer": list(r["answers"]), "dataset": r.get("category", "x"), "question_type": "x"}
    return float(ocrbench.ocrbench_process_results(doc, [pred])["ocrbench_accuracy"]["score"])


def score_ai2d(r, pred):
    return exact(ai2d.MultiChoiceRegexFilter().apply([[pred]], [None])[0], letter(r))


def score_scienceqa(r, pred):
    doc = {"choices": r["choices"], "answer": r["answer"]}
    return scienceqa.sqa_process_results(doc, [pred])["exact_match"]


rng = random.Random(5)
cases = []


def add(metric, score, record, pred):
    value = score(record, pred)
    if value is not None:
        cases.append({"metric": metric, "record": record, "answer": pred, "score": float(value)})


WORDS = ["red", "a", "the", "Two", "none", "dont", "semi-truck", "it's", "10.", "1,000", "1, 000", "a.b", "3.5", "Red/Blue", "yalld've", "y'alldve", "shouldntve", "shouldnt've", "weve", "e-mail", "x;y", "p; q", "(two)", "[ x ]", "\"no\"", "why?", "stop!", "A\tB", "C\nD", "oclock", "someonell", "'ow's'at", "ow's'at", "'ow'sat", "somebody'd", "Café", "ÉCOLE", "$5", "50%", "#1", "a_b", "a\\b", "{x}", "<y>", "me@x", "`q`", "=", "+1", "..", "U.S.", "...", "10,000,000", "five", "TEN", "cant", "theyre", "7 , 8", "9,,9"]
for k in range(160):
    gold = [" ".join(rng.choices(WORDS, k=rng.choice([1, 1, 2, 3]))) for _ in range(3)]
    answers = [rng.choices(gold, weights=[6, 2, 2])[0] for _ in range(10)]
    pred = rng.choice([gold[0], gold[0].lower(), gold[0].upper(), gold[1], gold[0].replace(" ", ", "), gold[0] + ".", " ".join(rng.choices(WORDS, k=2)), re.sub(r"['\-.]", "", gold[0])])
    add("lmms_vqa", score_vqa, {"answers": answers}, pred.strip())
    if k % 4 == 0:
        answers = [gold[0]] * 10
    add("lmms_vqav2", score_vqav2, {"answers": answers}, pred.strip())
for contraction in sorted(sys.modules["lmms_eval.tasks._task_utils.vqa_eval_metric"].EvalAIAnswerProcessor.CONTRACTIONS.items()):
    add("lmms_vqav2", score_vqav2, {"answers": [contraction[0]] * 5 + [contraction[1]] * 4 + ["x"]}, contraction[1].lower())
for gold in ["yes", "No"]:
    for pred in ["yes", "Yes", "NO", "no.", "Yes, it is", "", "maybe"]:
        add("lmms_pope", score_pope, {"answers": [gold]}, pred)

CHOICES = ["a red apple", "two dogs", "Paris", "5.0 m"]
LETTERS = ["A", "B.", "(C)", "C", "D) it", "The answer is B", "A or B", "B, not A", "(A) and (D)", "A. a red apple", "ABC", "D.", "'B'", "b", "it is a red apple I believe now", "I think Paris and then two dogs are there", "PARIS is what I would say here then", "Answer: C ", "A B A", "D.C", "none", "", "not any of the options that are given", "I A M", "E.", "A: yes", ":;B;:", "..C..", "\n D. x", "Ünder A"]
for answer in range(4):
    for pred in LETTERS:
        r = {"choices": CHOICES, "answer": answer}
        add("lmms_mmmu", score_mmmu, r, pred)
        add("lmms_seed", score_seed, r, pred)
        add("lmms_ai2d", score_ai2d, r, pred)
        add("lmms_scienceqa", score_scienceqa, r, pred)

OPEN = [["8.5"], ["1,234"], ["blue"], ["x"], ["3/4"], ["1e3"], ["-2"], ["0.125"], ["trapezoid", "trapezium"], ["14.285"], ["2.675"], [".5"], ["inf"]]
SAID = ["8.5", "8.50 metres", "The answer is 8.5.", "1234", "so 1,234,5678", "it is 1,234 in all", "thus 1234.0", "Blue.", "the color is blue", "x", "it is x y", "xy", "3/4", "is\nso 3/4", "1000", "1e3", "10e2 or so", "-2", "x=-2", "y = 4\nx = -2", "result is -2,", "0.125", "0.13", ".125", "0.124", "a trapezium", "TRAPEZOID", "final answer trapezoid", "14.29", "14.28", "14.285e0", "2.67", "2.68", "0.5", "-.5", "5", "is .", "answer ", "", "could be so is thus ", "therefore the final answer could be 8.5 and so it is .5", "1.2.3", "1,2,3", "1.5e", "3.14e5x", "a1b2", "v2.0", "1,234.5", "12,34", "inf", "nan", "Infinity is", "+1000", "1000,", "é=8.5", "is 8.5\nis 9", "= blue\n= red", "1,000", "0x10", "9.", "so so blue", "equals =", "½"]
for golds in OPEN:
    for pred in SAID:
        add("lmms_mmmu", score_mmmu, {"answers": golds}, pred)

QUESTIONS = ["Which? \nA. Yes\nB. No\nPlease answer directly.", "How many?", "Go?\n\nA. Left lane.\nB. The left\nC.  left\nD. Left lane.", "xA. not\n(B. it\nC.\nD. next", "A. one B. two\nC. three", "Is it a U.S. car?"]
REAL = ["A", "b.", "Yes", "No way", "two", "TWO", "Two.", "left", "The left", "Left lane", "Left lane.", "next", "it", "one B two", "three", "A.", "(B)", "", "U.S.", "car", "left lane, the left", "don't", "10", "a_b", "“Yes”"]
for question in QUESTIONS:
    for gold in ["A", "b", "D", "2", "Left lane.", "U.S."]:
        for pred in REAL:
            if rng.random() < 0.6:
                add("lmms_realworldqa", score_realworldqa, {"question": question, "answers": [gold]}, pred)

for golds in [["Hello World"], ["a b", "C D"], ["x^{2} + Y"], [" pad\nded "]]:
    for pred in ["hello world", "say HELLO world!", "helloworld", "a b c d", "c d", "x^{2}+y", "X^{2} + Y", "pad ded", "padded", "pad\nded", ""]:
        for category in [None, "HME100k", "IIIT5K"]:
            add("lmms_ocrbench", score_ocrbench, {"answers": golds, **({"category": category} if category else {})}, pred)

for gold in ["red", "the red", "It's", "left-hand side"]:
    for pred in ["Red", "red.", "a red", "the  red", "its", "it's!", "lefthand side", "left hand side", ""]:
        cases.append({"metric": "lmms_exact_match", "record": {"answers": [gold]}, "answer": pred, "score": exact(pred, gold)})

# Most answers score nothing; some of those say it as well as all.
cases = [c for c in cases if c["score"] > 0 or rng.random() < 0.4]
print("[" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "]")
