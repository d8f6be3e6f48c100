# SPDX-License-Identifier: GPL-2.0-only
"""Figures of runs whose clock counts instructions: medians over seeds, and the record in the
repository (lab/record.json) that a later run is held to.

A figure's name says which way is better: _us and _ns down, hogs_share up; others are not judged, nor
are the bench's yardsticks, the variants without pvsched.
"""
import json
import pathlib
import statistics
import time

from cache import LabError

RECORD = pathlib.Path(__file__).resolve().parent / "record.json"
LEEWAY = 0.05 # what a change that has nothing to do with it may cost
SPREADS = 3
TAIL_SEEDS = 3 # below that, one late moment decides what is beyond p99, or how a boost's path locks
INNER = ("_apply_", "_reach_") # a boost's own path, not what the workload sees
BUCKETS = 2 / 16 # INNER is out of a histogram, known to 1/16 (src/core/hist.h)
# Builds differ more than seeds. The same source, built on another machine, had a p99 (sleeping, the
# median of three seeds) of 49.4 us for the recorded 35.2: there few seeds judge by medians and shares,
# and only find a tail that has become another one.
RECORDED_SEEDS = 5
REBUILT = 0.5
YARDSTICKS = ("_other_", "_nice_", "_fifo_")


def inner(figure):
    return any(name in figure for name in INNER)


def better(figure, seeds):
    """-1: smaller is better; 1: larger; 0: not judged."""
    if any(name in figure for name in YARDSTICKS):
        return 0
    if seeds < TAIL_SEEDS and (figure.endswith("_p999_us") or inner(figure)):
        return 0
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
    try:
        return json.loads(RECORD.read_text())
    except FileNotFoundError:
        return {"kernels": {}}
    except ValueError as error:
        raise LabError(f"{RECORD}: not JSON ({error}): restore it, or record anew") from error


def pooled(old, new):
    """One figure of two builds that should not differ: the spread is over both, its ends rebuilt from
    theirs."""
    seeds = old["seeds"] + new["seeds"]
    median = (old["median"] * old["seeds"] + new["median"] * new["seeds"]) / seeds
    ends = [side["median"] + sign * side["spread"] * abs(side["median"])
            for side in (old, new) for sign in (-1, 1)]
    half = (max(ends) - min(ends)) / 2
    return {"median": round(median, 6), "spread": round(half / abs(median), 4) if median else 0.0,
            "seeds": seeds}


def write(results, seeds, commit, pool=False):
    """Replaces the record of the tests that ran, or with pool adds to it; the others stay."""
    if any(not result["ok"] for result in results):
        raise LabError("a test failed: nothing recorded")
    record = load()
    for kernel, tests in summary(results).items():
        recorded = record["kernels"].setdefault(kernel, {})
        for test, figures in tests.items():
            old = recorded.get(test) if pool else None
            if old:
                figures = {name: pooled(old["figures"][name], new) if name in old["figures"] else new
                           for name, new in figures.items()}
            recorded[test] = {
                "commit": f"{old['commit']}, {commit}" if old else commit,
                "date": time.strftime("%Y-%m-%d"), "seeds": seeds + (old["seeds"] if old else 0),
                "figures": figures}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def leeway(figure, old, seeds):
    """What it may be worse by, relative to the record, as the median of so many seeds."""
    rebuilt = REBUILT if seeds < RECORDED_SEEDS and "_p99" in figure else 0
    return max(LEEWAY, SPREADS * old["spread"], BUCKETS if inner(figure) else 0, rebuilt)


def check(results, wanted):
    """{(kernel, test, figure): line} of what is worse than its record allows, or cannot be compared.
    wanted: the (kernel, test) that have a record."""
    recorded = load()["kernels"]
    found = summary(results)
    worse = {}
    for kernel, test in dict.fromkeys((r["kernel"], r["test"]) for r in results if "seed" in r):
        if (kernel, test) not in wanted or not found.get(kernel, {}).get(test):
            continue # a failed test has said so
        entry = recorded.get(kernel, {}).get(test)
        if not entry:
            worse[kernel, test, None] = (
                f"{kernel} {test}: lab/record.json has no record of it: "
                f"lab/run --deterministic --kernel {kernel} --test {test} --record")
            continue
        record = f"(record of {entry['date']}, commit {entry['commit']}, lab/record.json)"
        for figure, old in entry["figures"].items():
            new = found[kernel][test].get(figure)
            direction = better(figure, new["seeds"] if new else entry["seeds"])
            if not direction or not old["median"]:
                continue
            if not new:
                worse[kernel, test, figure] = (f"{kernel} {test}: {figure} was not measured; it was "
                                               f"{old['median']:g} {record}")
                continue
            change = (new["median"] - old["median"]) / abs(old["median"]) * -direction
            allowed = leeway(figure, old, new["seeds"])
            if change > allowed:
                worse[kernel, test, figure] = (
                    f"{kernel} {test}: {figure} is {new['median']:g}, "
                    f"{change * 100:.1f} % worse than {old['median']:g}; "
                    f"{allowed * 100:.1f} % is allowed {record}")
    return worse


def confirmed(worse, results, wanted, again):
    """What of `worse` the median of TAIL_SEEDS seeds finds worse too: one seed that locks to a period
    is no change for the worse. again(kernel, test names, seeds): runs them, returns their results."""
    seen = {result["seed"] for result in results if "seed" in result}
    more = [seed for seed in range(1, TAIL_SEEDS + 1) if seed not in seen]
    doubted = {}
    for kernel, test, figure in worse:
        if figure:
            doubted.setdefault(kernel, set()).add(test)
    if not more or not doubted:
        return worse
    for kernel, tests in doubted.items():
        results = results + again(kernel, tests, more)
    still = check(results, wanted)
    return {key: still.get(key, line) for key, line in worse.items() if key in still or not key[2]}


def judge(results, wanted, again):
    """Gives every test that has a record a case of its own: whether its figures are as recorded."""
    worse = confirmed(check(results, wanted), results, wanted, again)
    judged = {}
    for result in results:
        if "seed" in result and result["ok"] and (result["kernel"], result["test"]) in wanted:
            judged.setdefault((result["kernel"], result["test"]), result)
    for (kernel, test), result in judged.items():
        lines = [line for key, line in worse.items() if key[:2] == (kernel, test)]
        case = {"name": "figures_are_as_recorded", "ok": not lines}
        result["cases"].append({**case, "why": "; ".join(lines)} if lines else case)
        result["ok"] = not lines
