# SPDX-License-Identifier: GPL-2.0-only
"""Cases of a test in Python, a line each, as tests/run counts them. Puts lab/ on the path."""
import pathlib
import sys

LAB = pathlib.Path(__file__).resolve().parent.parent.parent / "lab"
sys.path.insert(0, str(LAB))

failed = 0


def report(name, good, why=""):
    global failed
    failed += not good
    print(f"ok {name}" if good else f"not ok {name}: {why}", flush=True)


def end():
    sys.exit(failed > 0)
