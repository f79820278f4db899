#!/usr/bin/env python3
"""Count the tests in meson's testlog.json files; the last line is "N passed, N failed".

    count-tests.py [--broken-builds N] LOG...

Every line of a TAP test counts by itself; another program counts as one. A program that failed
without saying which of its tests did counts as one failure, and so does a build that broke. Exit
status 1 when anything failed or nothing ran.
"""
import json
import re
import sys

TAP = re.compile(r"^(not )?ok\b\s*\d*(.*)$", re.MULTILINE)
# What tests/unit/test.h says of a test that the machine does not allow; cmocka then says "ok".
SKIP = re.compile(r"^# SKIP: ", re.MULTILINE)
BAD = {"FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS"}


def count(entry):
    """(passed, failed, skipped) of one program."""
    lines = TAP.findall(entry.get("stdout") or "")
    result = entry["result"]
    skipped = sum(1 for bad, rest in lines if not bad and re.search(r"#\s*skip", rest, re.I))
    skipped += len(SKIP.findall(entry.get("stdout") or ""))
    failed = sum(1 for bad, rest in lines if bad)
    passed = len(lines) - failed - skipped
    if result in BAD and failed == 0:
        failed = 1
    elif result == "SKIP" and not lines:
        skipped = 1
    elif not lines and result not in BAD:
        passed = 1
    return passed, failed, skipped


def main(paths):
    passed = failed = skipped = 0
    if paths[:1] == ["--broken-builds"]:
        failed = int(paths[1])
        paths = paths[2:]
        if failed:
            print(f"{failed} builds or configurations failed")
    for path in paths:
        try:
            with open(path, encoding="utf-8") as log:
                entries = [json.loads(line) for line in log if line.strip()]
        except OSError as why:
            print(f"{path}: {why.strerror}: the build or its tests did not run")
            failed += 1
            continue
        sums = [count(entry) for entry in entries]
        p, f, s = (sum(column) for column in zip(*sums)) if sums else (0, 0, 0)
        print(f"{path}: {p} passed, {f} failed, {s} skipped")
        for entry, one in zip(entries, sums):
            if one[1]:
                print(f"  failed: {entry['name']} ({entry['result']})")
        passed, failed, skipped = passed + p, failed + f, skipped + s
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
