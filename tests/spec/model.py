#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The model of the ordering and the code name each other's steps, and the model holds: its small
configurations; `make model` has all. timeout: 600
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STEP = re.compile(r"\bstep: ([a-z_]+\.[a-z_]+)")
CODE = re.compile(r"\bmodel: ([a-z_]+\.[a-z_]+(?:,\s+(?:\*\s+)?[a-z_]+\.[a-z_]+)*)")


def report(name, problems):
    print(f"not ok {name}: {'; '.join(problems)}" if problems else f"ok {name}", flush=True)
    return bool(problems)


def main():
    modelled = set(STEP.findall((ROOT / "spec/model/ordering.pml").read_text()))
    coded = {}
    for path in (ROOT / "src").rglob("*.[ch]"):
        for names in CODE.findall(path.read_text()):
            for name in re.findall(r"[a-z_]+\.[a-z_]+", names):
                coded[name] = path.name
    failed = report("model_every_step_is_in_the_code",
                    sorted(modelled - set(coded)) if modelled else ["the model names no step"])
    failed |= report("model_every_step_of_the_code_is_modelled",
                     [f"{name} in {coded[name]}" for name in sorted(set(coded) - modelled)])
    failed |= subprocess.run([ROOT / "spec/model/run", "--quick"], check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
