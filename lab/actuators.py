# SPDX-License-Identifier: GPL-2.0-only
"""One table out of runs of the test `actuators`: kernel x workload x actuator."""
import statistics

TEST = "actuators"
ACTUATORS = ["agent", "kmod", "kmod-policy", "scx"]
WORKLOADS = ["busy", "busy-random", "critical", "sleeping"]
COLUMNS = { # key of a figure: (title, format)
    "p50_us": ("p50", "{:,.1f}"), "p99_us": ("p99", "{:,.1f}"), "p999_us": ("p99.9", "{:,.1f}"),
    "hogs_share": ("hogs' CPU", "{:.0%}"), "boosts": ("boosts", "{:,.0f}"),
    "reach_p50_us": ("event to running", "{:,.1f}"),
    "reach_added_switches": ("switches added", "{:.2f}")}


def cells(results):
    """{(kernel, workload, actuator): {key: median over the seeds}}"""
    values = {}
    for result in results:
        for workload in WORKLOADS if result["test"] == TEST else []:
            for actuator in ACTUATORS:
                for key in COLUMNS:
                    value = result["figures"].get(f"{actuator}_{workload}_{key}")
                    if value is not None:
                        cell = values.setdefault((result["kernel"], workload, actuator), {})
                        cell.setdefault(key, []).append(value)
    return {cell: {key: statistics.median(series) for key, series in keys.items()}
            for cell, keys in values.items()}


def table(results):
    """Markdown; empty where the test was not run."""
    found = cells(results)
    if not found:
        return ""
    rows = [["kernel", "workload", "actuator", *(title for title, _ in COLUMNS.values())],
            [*["---"] * 3, *["--:"] * len(COLUMNS)]]
    for kernel in dict.fromkeys(kernel for kernel, _, _ in found):
        for workload in WORKLOADS:
            for actuator in ACTUATORS:
                cell = found.get((kernel, workload, actuator))
                if cell:
                    rows.append([kernel, workload, actuator] +
                                [layout.format(cell[key]).replace("%", " %") if key in cell else ""
                                 for key, (_, layout) in COLUMNS.items()])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
