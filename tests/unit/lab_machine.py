#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What lab/run makes of the lines that a machine reports, and of a kernel's log."""
import base64
import gzip
import pathlib
import re
import sys
import tempfile

sys.dont_write_bytecode = True # the source tree stays as it is
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from cases import LAB, end, report # noqa: E402
import machine # noqa: E402


def told(*lines):
    """The run after these lines of its report."""
    run = machine.Run()
    with tempfile.TemporaryDirectory() as out:
        for line in lines:
            run.line(line, out, lambda text: None)
    return run


WELL = ["lab up 6.12", "lab begin one", "ok case", "lab end one 0"]

run = told(*WELL, "lab done")
report("machine_test_that_says_ok_is_ok", run.results["one"]["ok"] and run.done)
run = told(*WELL[:3], "lab log WARNING: here", WELL[3])
report("machine_kernel_error_fails_the_test_that_runs", not run.results["one"]["ok"])
run = told(*WELL, "lab log WARNING: late")
report("machine_kernel_error_after_the_last_test_fails_it", not run.results["one"]["ok"],
       str(run.results))
run = told(*WELL, "lab files", "no base64 of a tar", "lab files-end", "lab done")
run.broken("cut off", lambda text: None)
report("machine_files_that_are_cut_off_fail_the_test", run.lost and not run.results["one"]["ok"],
       str(run.results))
run = told(*WELL, "lab files", "never ends")
run.broken("the machine stopped during its end", lambda text: None)
report("machine_that_dies_after_the_last_test_fails_it", not run.results["one"]["ok"], str(run.results))
flipped = base64.b64encode(gzip.compress(bytes(1000))[:-4] + b"fals").decode()
run = told(*WELL, "lab files", flipped, "lab files-end", "lab done")
report("machine_files_with_a_wrong_sum_are_lost", run.lost)

trace = [f" frame_{i}+0x10/0x20" for i in range(60)]
log = ["boot"] * 100 + ["last words", "Kernel panic - not syncing: here", *trace]
report("machine_last_lines_begin_before_the_panic", "last words" in machine.last_lines("\n".join(log)))
many = machine.last_lines("\n".join(log + trace * 9 + ["end"]))
report("machine_last_lines_are_bounded", len(many) == 200 and "last words" in many and many[-1] == "end")
report("machine_last_lines_of_a_sound_kernel_are_few",
       machine.last_lines("\n".join(["boot"] * 100 + ["end"])) == ["boot"] * 39 + ["end"])

# Lines of real kernels, each of which must be seen; and of a clean boot, which must not.
PATTERNS = [re.compile(line) for line in (LAB / "kernel-errors").read_text().splitlines()]
BAD = """\
BUG: kernel NULL pointer dereference, address: 0000000000000010
BUG: unable to handle page fault for address: ffffffffc0000000
Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]
kernel BUG at mm/slub.c:546!
WARNING: CPU: 1 PID: 0 at kernel/sched/core.c:5899 sched_mm_cid_migrate_to+0x1c5/0x1e0
WARNING: possible circular locking dependency detected
WARNING: possible recursive locking detected
WARNING: inconsistent lock state
WARNING: suspicious RCU usage
rcu: INFO: rcu_preempt self-detected stall on CPU
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: rcu_preempt kthread starved for 5251 jiffies! g1365 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0
INFO: task kworker/0:1:10 blocked for more than 120 seconds.
watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [pvsched:140]
watchdog: Watchdog detected hard LOCKUP on cpu 1
sched_ext: BPF scheduler "pvsched" errored, disabling
sched_ext: pvsched: runtime error
UBSAN: array-index-out-of-bounds in kernel/bpf/verifier.c:100:2
BUG: scheduling while atomic: swapper/0/0/0x00000002
Kernel panic - not syncing: sysrq triggered crash
"""
GOOD = """\
Spectre V2 : User space: Vulnerable
rcu: Hierarchical RCU implementation.
rcu: RCU event tracing is enabled.
sched_ext: BPF scheduler "pvsched" enabled
sched_ext: BPF scheduler "pvsched" disabled (unregistered from user space)
kvm: Nested Virtualization enabled
"""


def seen(line):
    return any(pattern.search(line) for pattern in PATTERNS)


missed = [line for line in BAD.splitlines() if not seen(line)]
report("machine_kernel_errors_are_all_seen", not missed, str(missed))
wrong = [line for line in GOOD.splitlines() if seen(line)]
report("machine_clean_boot_is_clean", not wrong, str(wrong))
end()
