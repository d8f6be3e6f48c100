# SPDX-License-Identifier: GPL-2.0-only
"""Figures of runs whose clock counts instructions: medians over seeds, and the record in the
repository (lab/record.json) that a later run is held to.

A figure's name says which way is better: _us and _ns down, hogs_share up; others are not judged.
"""
import json
import pathlib
import statistics
import time

from cache import LabError

RECORD = pathlib.Path(__file__).resolve().parent / "record.json"
LEEWAY = 0.05 # what a change that has nothing to do with it may cost
SPREADS = 3


def better(figure):
    """-1: smaller is better; 1: larger; 0: not judged."""
    if figure.endswith(("_us", "_ns")):
        return -1
    return 1 if figure.endswith("hogs_share") else 0


def summary(results):
    """{kernel: {test: {figure: {median, spread, seeds}}}}; spread is half of max - min, relative
    to the median. Only of runs that counted instructions."""
    values = {}
    for result in results:
        if "seed" in result and result["ok"]:
            for figure, value in result["figures"].items():
                key = result["kernel"], result["test"], figure
                values.setdefault(key, []).append(value)
    found = {}
    for (kernel, test, figure), series in values.items():
        median = statistics.median(series)
        half = (max(series) - min(series)) / 2
        found.setdefault(kernel, {}).setdefault(test, {})[figure] = {
            "median": median, "spread": round(half / abs(median), 4) if median else 0.0,
            "seeds": len(series)}
    return found


def rows(found):
    return [(kernel, test, figure, value) for kernel, tests in found.items()
            for test, figures in tests.items() for figure, value in figures.items()]


def report(found):
    lines = [f"{kernel:5} {test:10} {figure:40} {value['median']:12.3f} "
             f"+-{value['spread'] * 100:5.1f} %  {value['seeds']} seeds"
             for kernel, test, figure, value in rows(found) if value["median"]]
    return "\n".join(lines)


def load():
    return json.loads(RECORD.read_text()) if RECORD.exists() else {"kernels": {}}


def write(results, seeds, commit):
    """Replaces the record of the tests that ran; the others stay."""
    if any(not result["ok"] for result in results):
        raise LabError("a test failed: nothing recorded")
    record = load()
    for kernel, tests in summary(results).items():
        for test, figures in tests.items():
            record["kernels"].setdefault(kernel, {})[test] = {
                "commit": commit, "date": time.strftime("%Y-%m-%d"), "seeds": seeds,
                "figures": figures}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def check(results):
    """Lines that say which figure is worse than its record allows."""
    recorded = load()["kernels"]
    worse = []
    for kernel, test, figure, value in rows(summary(results)):
        entry = recorded.get(kernel, {}).get(test, {})
        old = entry.get("figures", {}).get(figure)
        if not old or not better(figure) or not old["median"]:
            continue
        leeway = max(LEEWAY, SPREADS * old["spread"])
        change = (value["median"] - old["median"]) / abs(old["median"]) * -better(figure)
        if change > leeway:
            worse.append(f"{kernel} {test}: {figure} is {value['median']:g}, {change * 100:.1f} % "
                         f"worse than {old['median']:g}; {leeway * 100:.1f} % is allowed (record "
                         f"of {entry['date']}, commit {entry['commit']}, lab/record.json)")
    return worse
