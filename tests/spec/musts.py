#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Each numbered MUST of spec/*.md names its test, and that test exists.

A MUST is a paragraph that begins with **ID** (`**PAGE-3**`); somewhere in it stands
`Test:` and one or more names. A test is any word of that name under tests/ or lab/.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MUST = re.compile(r"^\*\*([A-Z]+-\d+)\*\*(.*?)(?=^\s*$|\Z)", re.M | re.S)
TESTS = re.compile(r"Test:\s+((?:`\w+`(?:,\s+)?)+)")


def words_of_tests():
    words = set()
    for tree in "tests", "lab":
        for path in (ROOT / tree).rglob("*"):
            if path.is_file() and path != pathlib.Path(__file__).resolve():
                words.update(re.findall(r"\w+", path.read_text(errors="replace")))
    return words


def report(name, problems):
    print(f"not ok {name}: {'; '.join(problems)}" if problems else f"ok {name}")
    return bool(problems)


def main():
    known = words_of_tests()
    ids, nameless, absent, loose = collections.Counter(), [], [], []
    for spec in sorted((ROOT / "spec").glob("*.md")):
        text = spec.read_text()
        for must, body in MUST.findall(text):
            ids[must] += 1
            named = [name for names in TESTS.findall(body) for name in re.findall(r"\w+", names)]
            if not named:
                nameless.append(must)
            absent += [f"{must} {name}" for name in named if name not in known]
        # Prose may explain a MUST, but a rule outside the list would have no test.
        for paragraph in re.split(r"\n\s*\n", MUST.sub("", text)):
            if re.search(r"\bMUST\b", paragraph) and "MUSTs" not in paragraph:
                loose.append(f"{spec.name}: {' '.join(paragraph.split())[:60]}")

    failed = report("must_every_one_has_its_own_number",
                    [i for i, times in ids.items() if times > 1] or ([] if ids else ["no MUST"]))
    failed |= report("must_every_one_names_a_test", nameless)
    failed |= report("must_every_named_test_exists", absent)
    failed |= report("must_every_one_is_numbered", loose)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
