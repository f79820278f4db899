#!/usr/bin/env python3
"""Compare the stops of Algorithm 1 on a zoo of models and on random subsets of it.

Every rule is a run of `uqmerge select --json`; runs over the same models share what they have
measured through one --state file. The merges that the rules choose are scored by `uqmerge eval
--json` on all labelled records, by way of the recipes that the steps show. Nothing else is read.
What is finished is kept in OUT.json, from which an interrupted study goes on. Prints a Markdown
table.

    study-stops.py --program build/tools/uqmerge --zoo tests/zoo --out stops.json
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

RULES = {
    "paper": [],
    "guard": ["--guard", "0.25"],
    "patience": ["--patience", "1"],
    "min-drop": ["--min-drop", "0.002"],
    "guard, patience": ["--guard", "0.25", "--patience", "1"],
    "spread": ["--min-spread", "0.85"],
    "guard, spread": ["--guard", "0.25", "--min-spread", "0.85"],
    "spread, patience": ["--min-spread", "0.85", "--patience", "1"],
}


def run(program, *args):
    command = [program, *args, "--json", "--progress", "never", "-q"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def data_of(zoo):
    folder = os.path.join(zoo, "data", "heldin")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def names_of(zoo):
    """All models but the base, which is none to choose."""
    with open(os.path.join(zoo, "zoo.json")) as f:
        zoo_json = json.load(f)
    models = zoo_json["models"]
    names = [m["name"] for m in models] if isinstance(models, list) else list(models)
    return [n for n in names if n != "base" and os.path.isdir(os.path.join(zoo, "models", n))]


def cases_of(names, options):
    rng = random.Random(options.seed)
    cases, seen = [sorted(names)], set()
    while len(cases) < 1 + options.subsets:
        subset = tuple(sorted(rng.sample(sorted(names), options.size)))
        if subset not in seen:
            seen.add(subset)
            cases.append(list(subset))
    return cases


def accuracies(options, recipes, scores, scratch):
    """Accuracy of each recipe; those of one call share their pictures."""
    new = sorted(set(recipes) - set(scores))
    paths = []
    for i, text in enumerate(new):
        paths.append(os.path.join(scratch, f"recipe{i}.yml"))
        with open(paths[-1], "w") as f:
            f.write(text)
    if new:
        result = run(options.program, "eval", *paths, "--data", *data_of(options.zoo),
                     "--threads", str(options.threads))
        for text, model in zip(new, result["models"]):
            scores[text] = model["average"]


def select(options, models, flags):
    paths = [os.path.join(options.zoo, "models", name) for name in models]
    return run(options.program, "select", *paths, "--data", *data_of(options.zoo), "--samples",
               str(options.samples), "--seed", str(options.data_seed), "--order", options.order,
               "--no-write", "--state", options.state, "--threads", str(options.threads), *flags)


def choice(result, n, stop):
    """The first n models, where a rule stopped, and what was asked for it."""
    steps = result["steps"]
    return {
        "selected": result["order"][:n],
        "stopped_at": stop,
        "stopped_by": result["stopped_by"],
        "recipe": steps[n - 1]["recipe"],
        "samples": sum(s["samples"] for s in steps[1:stop]),
        "answer_entropy": [s["answer_entropy"] for s in steps[:stop]],
        "uq": [s["uq"] for s in steps[:stop]],
    }


def study_case(options, case, scores, scratch):
    """Add the rules that the case has not been studied under."""
    rules = case["rules"]
    for rule in options.rules:
        if rule not in rules:
            result = select(options, case["models"], RULES[rule])
            case["order"] = result["order"]
            rules[rule] = choice(result, len(result["selected"]), result["stopped_at"])
    accuracies(options, [r["recipe"] for r in rules.values()], scores, scratch)
    for r in rules.values():
        r["accuracy"] = scores[r["recipe"]]


def cell(rule):
    stop = f"stop {rule['stopped_at']}" if rule["stopped_at"] is not None else "no stop"
    return f"{100 * rule['accuracy']:.1f} · {len(rule['selected'])}, {stop} · {rule['samples']}"


def table(cases, rules):
    """Accuracy in percent · models taken, where it stopped · records asked for the steps."""
    lines = ["| models in order | " + " | ".join(rules) + " |",
             "|---" * (1 + len(rules)) + "|"]
    for case in cases:
        cells = " | ".join(cell(case["rules"][r]) for r in rules)
        lines.append(f"| {', '.join(case['order'])} | {cells} |")
    return "\n".join(lines)


def summary(cases, rules):
    lines = ["| rule | mean accuracy | mean against the paper's | worst against it | better, worse "
             "by more than 2 points | samples |", "|---|---:|---:|---:|---:|---:|"]
    for rule in rules:
        score = [100 * c["rules"][rule]["accuracy"] for c in cases]
        gain = [s - 100 * c["rules"]["paper"]["accuracy"] for s, c in zip(score, cases)]
        lines.append(
            f"| {rule} | {sum(score) / len(score):.2f} | {sum(gain) / len(gain):+.2f} | "
            f"{min(gain):+.2f} | {sum(g > 2 for g in gain)}, {sum(g < -2 for g in gain)} | "
            f"{sum(c['rules'][rule]['samples'] for c in cases)} |")
    return "\n".join(lines)


def rules_of(text):
    names = [name.replace("+", ", ") for name in text.split(",")]
    if "paper" not in names or not set(names) <= set(RULES):
        raise argparse.ArgumentTypeError(f"paper, and others of: {'; '.join(RULES)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="build/tools/uqmerge")
    parser.add_argument("--zoo", default="tests/zoo")
    parser.add_argument("--out", required=True)
    parser.add_argument("--samples", type=int, default=24, help="records of each set")
    parser.add_argument("--subsets", type=int, default=20)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1, help="of the subsets")
    parser.add_argument("--data-seed", type=int, default=0, help="of records and perturbations")
    parser.add_argument("--order", default="uq-desc", help="as select's")
    parser.add_argument("--rules", default=",".join(RULES).replace(", ", "+"), type=rules_of,
                        help="some of them, paper among them; + for the comma of a name")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.state = options.out + ".state"

    done = {"samples": options.samples, "cases": [], "scores": {}}
    if os.path.exists(options.out):
        with open(options.out) as f:
            done = json.load(f)
    for models in cases_of(names_of(options.zoo), options)[len(done["cases"]):]:
        done["cases"].append({"models": models, "rules": {}})
    with tempfile.TemporaryDirectory() as scratch:
        for i, case in enumerate(done["cases"]):
            study_case(options, case, done["scores"], scratch)
            with open(options.out + ".part", "w") as f:
                json.dump(done, f, indent=1)
            os.replace(options.out + ".part", options.out)
            print(f"{i + 1}/{len(done['cases'])} {', '.join(case['models'])}", file=sys.stderr)
    print(table(done["cases"], options.rules))
    print()
    print(summary(done["cases"], options.rules))


if __name__ == "__main__":
    main()
