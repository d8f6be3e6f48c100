#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What lab/run --check accepts and what it calls worse, on results made up here."""
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True # the source tree stays as it is
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from cases import end, report # noqa: E402
import record # noqa: E402
from cache import LabError # noqa: E402

WANTED = {("7.3", "t")}


def runs(values, figure="busy_pvsched_4_p99_us", ok=True):
    """A result for each seed."""
    return [{"kernel": "7.3", "test": "t", "seed": seed, "ok": ok, "figures": {figure: value}}
            for seed, value in enumerate(values, 1)]


def worse(old, new, figure="busy_pvsched_4_p99_us"):
    """The lines about new, after old was recorded."""
    record.RECORD.unlink(missing_ok=True)
    record.write(runs(old, figure), len(old), "abc")
    return list(record.check(runs(new, figure), WANTED).values())


def judged(old, new, more, figure="busy_pvsched_4_p99_us"):
    """The case of the record for new, and the seeds that were asked for beside it."""
    worse(old, new, figure)
    results, asked = runs(new, figure), []

    def again(kernel, tests, seeds):
        asked.extend(seeds)
        return [run for run in runs([*new, *more], figure) if run["seed"] in seeds]
    for result in results:
        result["cases"] = []
    record.judge(results, WANTED, again)
    return results[0]["cases"][0], results[0]["ok"], asked


def main():
    same = [100, 101, 102]
    for name, old, new, lines, *figure in (
            ("same_figures_pass", same, same, 0),
            ("worse_by_less_than_five_percent_passes", same, [105, 105, 106], 0),
            ("worse_by_more_than_five_percent_fails", same, [107] + [108] * 4, 1),
            ("better_passes", same, [10, 10, 10], 0),
            ("three_spreads_are_allowed", [90, 100, 110], [125, 129, 130], 0),
            ("more_than_three_spreads_are_not", [90, 100, 110], [131] * 4 + [132], 1),
            ("rebuilt_tail_passes_few_seeds", same, [140, 141, 142], 0),
            ("another_tail_fails_few_seeds", same, [160, 161, 162], 1),
            ("median_has_no_such_leeway", same, [140, 141, 142], 1, "busy_pvsched_4_p50_us"),
            ("smaller_hogs_share_fails", [0.8] * 3, [0.7] * 3, 1, "busy_pvsched_4_hogs_share"),
            ("larger_hogs_share_passes", [0.8] * 3, [0.9] * 3, 0, "busy_pvsched_4_hogs_share"),
            ("yardsticks_are_not_judged", same, [900] * 3, 0, "busy_other_4_p99_us"),
            ("counts_are_not_judged", same, [900] * 3, 0, "busy_pvsched_4_boosts"),
            ("tail_of_one_seed_is_not_judged", same, [900], 0, "busy_pvsched_4_p999_us"),
            ("tail_of_three_seeds_is", same, [900] * 3, 1, "busy_pvsched_4_p999_us"),
            ("path_of_one_seed_is_not_judged", same, [900], 0, "busy_pvsched_4_reach_p50_us"),
            ("one_histogram_bucket_passes", [16] * 3, [17] * 3, 0, "busy_pvsched_4_apply_p50_us"),
            ("three_histogram_buckets_fail", [16] * 3, [19] * 3, 1, "busy_pvsched_4_apply_p50_us")):
        found = worse(old, new, *figure)
        report(f"record_{name}", len(found) == lines, found)
    found = worse(same, [200, 200, 200])
    report("record_is_named_with_its_commit", all(
        word in found[0] for word in ("lab/record.json", "abc", "7.3 t: busy_pvsched_4_p99_us is "
                                      "200, 98.0 % worse than 101")), found)
    for name, new, more, good, seeds in (
            ("good_seed_stands_alone", [100], [], True, []),
            ("bad_seed_is_outvoted_by_two_good", [200], [100, 101], True, [2, 3]),
            ("bad_seed_is_confirmed_by_another", [200], [100, 201], False, [2, 3]),
            ("three_bad_seeds_ask_for_no_more", [200] * 3, [], False, [])):
        case, ok, asked = judged(same, new, more)
        report(f"record_{name}", (case["ok"], ok, asked) == (good, good, seeds) and
               ("why" in case) != good, (case, ok, asked))
    worse(same, same)
    record.write(runs([140, 150, 160]), 3, "def", pool=True)
    entry = record.load()["kernels"]["7.3"]["t"]
    value = entry["figures"]["busy_pvsched_4_p99_us"]
    report("record_of_two_builds_spans_both", (entry["commit"], entry["seeds"], value["seeds"]) ==
           ("abc, def", 6, 6) and value["median"] == 125.5 and
           abs(value["spread"] * value["median"] - 30) < 0.1, entry)
    found = list(record.check([{**run, "figures": {"other": 1}} for run in runs(same)],
                              WANTED).values())
    report("record_of_a_figure_that_is_gone_fails", "was not measured" in "".join(found), found)
    record.RECORD.unlink()
    found = list(record.check(runs(same), WANTED).values())
    report("record_that_is_not_there_fails", "no record of it" in "".join(found), found)
    try:
        record.write(runs(same, ok=False), 3, "abc")
        report("record_of_a_failed_test_is_refused", False, "it was written")
    except LabError:
        report("record_of_a_failed_test_is_refused", not record.RECORD.exists(), "a file")
    record.RECORD.write_text("{")
    try:
        record.check(runs(same), WANTED)
        report("record_that_is_damaged_is_told_of", False, "accepted")
    except LabError as error:
        report("record_that_is_damaged_is_told_of", "record anew" in str(error), error)


with tempfile.TemporaryDirectory() as directory:
    record.RECORD = pathlib.Path(directory, "record.json")
    main()
end()
