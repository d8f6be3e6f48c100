# SPDX-License-Identifier: GPL-2.0-only
"""One L1: QEMU as a child process, its console and its report followed as they grow.

The machine never outlives run(): it is killed by its process id at the end, at every limit, on
every exception, and by the kernel if this process dies. Results come as lines on the second
serial port; lab/init says which.
"""
import base64
import ctypes
import gzip
import io
import math
import os
import pathlib
import re
import signal
import subprocess
import tarfile
import time
import zlib

from cache import LabError

HERE = pathlib.Path(__file__).resolve().parent
BOOT_LIMIT = 240 # seconds to `lab up`; 5-8 are usual, 35 beside a load of 10 on 2 CPUs
END_GRACE = 20 # seconds beyond a test's own limit, and for the files at the end
PROGRAM = "usr/bin/qemu-system-x86_64" # in the unpacked package
OLDEST_QEMU = (10, 0) # 7.2's emulation crashes SMP L1 kernels
# Time counted in instructions: a run repeats, whatever else this system does.
DETERMINISTIC = ["-icount", "shift=1,sleep=off,align=off",
                 "-rtc", "base=2026-01-01T00:00:00,clock=vm"]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL) # PR_SET_PDEATHSIG


def go_first():
    """Before whatever else this system does, where that may be asked for."""
    die_with_parent()
    try:
        os.nice(-15)
        # Where sessions are groups of their own (autogroup), only their nice value counts.
        pathlib.Path("/proc/self/autogroup").write_text("-15\n")
    except OSError:
        pass


class Qemu:
    """The emulator, out of the cache or PVSCHED_LAB_QEMU, and how to run what came with it."""

    def __init__(self, tree):
        self.tree = tree
        self.libs = [str(tree / "usr/lib/x86_64-linux-gnu"), str(tree / "lib/x86_64-linux-gnu")]
        self.data = [str(tree / "usr/share/qemu"), str(tree / "usr/share/seabios")]
        own = os.environ.get("PVSCHED_LAB_QEMU")
        self.program = own or str(tree / PROGRAM)
        # A QEMU from elsewhere brings its own libraries and firmware.
        self.env = os.environ if own else dict(os.environ, LD_LIBRARY_PATH=":".join(self.libs))
        self.data = [] if own else [arg for path in self.data for arg in ("-L", path)]
        try:
            result = subprocess.run([self.program, "--version"], env=self.env, text=True,
                                    capture_output=True, check=False)
        except OSError as error:
            raise LabError(f"{self.program}: {error.strerror}: not runnable") from error
        version = re.search(r"version (\d+)\.(\d+)", result.stdout)
        if not version:
            raise LabError(f"{self.program}: says no version: {result.stderr.strip()[:200]}")
        if tuple(map(int, version.groups())) < OLDEST_QEMU:
            raise LabError(f"{self.program}: version {'.'.join(version.groups())} is too old: its "
                           "emulation crashes SMP kernels: use 10.0 or newer, or unset "
                           "PVSCHED_LAB_QEMU to take the lab's own")

    def slow_env(self, library, slowdown):
        """The environment in which its clock is slower than this system's: slowclock.c."""
        return dict(self.env, LD_PRELOAD=str(library), PVSCHED_LAB_SLOWDOWN=str(slowdown))

    def command(self, vmlinux, initramfs, append, memory, seed=None, slice_us=0):
        """seed: None for speed; a number for the deterministic clock. slice_us: of that clock, see
        slices()."""
        if seed is None:
            accel = ["-accel", "tcg,thread=multi,tb-size=512"]
        else:
            accel = ["-accel", "tcg,thread=single,tb-size=512", *DETERMINISTIC, "-seed", str(seed),
                     *(slices(slice_us) if slice_us else [])]
        return [self.program, *self.data, *accel, "-M", "q35", "-cpu", "EPYC,+svm,+npt",
                "-smp", "2", "-m", memory, "-nodefaults", "-no-user-config", "-no-reboot",
                "-display", "none", "-kernel", str(vmlinux), "-initrd", str(initramfs),
                "-append", append]


def slices(us):
    """One thread emulates both CPUs in turns, each until half the time to the next timer: one that sets a
    timer may stand still for 100s of us while the other runs on. Something that is due each `us` keeps
    them together: a filter of a network that has nobody is the one such thing that no guest sees."""
    return ["-netdev", "hubport,id=nobody,hubid=0",
            "-object", f"filter-buffer,id=slices,netdev=nobody,interval={us}"]


def append_line(tests, extra="", seed=None, shell=False, scale=1.0):
    """The kernel command line. Level 5 lets warnings reach the console, which outlives a panic;
    emulated TSCs agree, but 6.1 and 7.3 at times fail to measure that and fall back to the HPET."""
    words = ["console=ttyS0", "loglevel=5", "mitigations=off", "nokaslr", "panic=-1",
             "oops=panic", "tsc=reliable", extra]
    words += ["lab.shell"] if shell else []
    words += ["lab.soak"] if any(test.long for test in tests) else []
    words += [] if seed is None else [f"lab.seed={seed}"]
    words += [f"lab.scale={math.ceil(scale)}"] # of the limits inside a test: the shell has integers
    words += ["lab.tests=" + ",".join(f"{test.name}:{round(test.timeout * scale)}" for test in tests)]
    return " ".join(filter(None, words))


class Tail:
    """Complete new lines of a growing file."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.rest = b""

    def lines(self):
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in lines]


class Run:
    """One boot: results so far, and whether it ended well."""

    def __init__(self):
        self.results = {} # test name -> result
        self.current = None
        self.release = None
        self.files = None # base64 lines while they come
        self.lost = False # files were sent and cannot be read
        self.done = False

    def line(self, line, out, say):
        """One line of the report."""
        word, _, rest = line.partition(" ")
        if self.files is not None and line != "lab files-end":
            self.files.append(line)
        elif line == "lab files":
            self.files = []
        elif line == "lab files-end":
            try:
                data = gzip.decompress(base64.b64decode("".join(self.files)))
                with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                    tar.extractall(out, filter="data")
            except (ValueError, EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
                say(f"its files did not come whole: {error}")
                self.lost = True
            self.files = None
        elif line == "lab done":
            self.done = True
        elif line.startswith("lab up "):
            self.release = line[7:]
        elif line.startswith("lab begin "):
            name = line[10:]
            self.current = {"test": name, "ok": True, "seconds": 0.0, "figures": {}, "cases": []}
            self.started = time.monotonic()
            self.results[name] = self.current
            say(f"{name} ...")
        elif line.startswith("lab log "):
            self.log(line[8:], say)
        elif self.current is None:
            say(line)
        elif line.startswith("lab end "):
            self.end(int(line.rsplit(" ", 1)[1]), say)
        elif word in ("ok", "not", "skip"):
            # The runner's form, and cmocka's TAP, which puts no colon before why a case could not run.
            found = re.match(r"(ok|not ok|skip) (?:\d+ )?(?:- |(# SKIP) )?([^:\s]+)"
                             r"(?:(?:: *| (?=Could not run))(.*))?$", line)
            if found and (found.group(1) == "skip" or found.group(2)):
                self.current["cases"].append({"name": found.group(3), "skipped": found.group(4)})
            elif found:
                why = (found.group(4) or "see its output") if found.group(1) == "not ok" else None
                self.case(found.group(3), why)
            say(f"  {line}")
        elif word == "figure" and len(line.split()) == 3:
            try:
                self.current["figures"][line.split()[1]] = float(line.split()[2])
            except ValueError:
                self.case("figures_are_numbers", line)
            say(f"  {line}")
        else:
            say(f"  | {line}")

    def case(self, name, why, of=None):
        of = of or self.current
        case = {"name": name, "ok": why is None}
        if why is not None:
            case["why"] = why or "no reason given"
            of["ok"] = False
        of["cases"].append(case)

    def log(self, line, say):
        """A kernel's error: the test's that runs, or that ran last."""
        of = self.current or (list(self.results.values()) or [None])[-1]
        if of is None:
            say(f"kernel log: {line}")
            return
        self.case("kernel_log_is_clean", line, of)
        if not self.current:
            say(f"{of['test']}: FAILED after its end: {line}")

    def end(self, status, say):
        result = self.current
        result["seconds"] = round(time.monotonic() - self.started, 1)
        if status and result["ok"]:
            self.case("the_test_itself", f"exit status {status}")
        if not result["cases"]:
            self.case("the_test_itself", "no case reported")
        say(f"{result['test']}: {'ok' if result['ok'] else 'FAILED'} ({result['seconds']} s)")
        self.current = None

    def broken(self, why, say):
        """The machine ended or hung inside a test or after the last, or the tests' files are lost."""
        if self.current:
            self.case("the_machine_survives", why)
            self.end(0, say)
        elif self.results and (self.lost or not self.done):
            self.case("the_machine_survives", why, list(self.results.values())[-1])


def last_lines(log):
    """What a dead machine said last: 40 lines, or from ten before the first that shows a wrong
    kernel; of more than 200 the first and the last. The cause comes before a trace, which is as long as
    its stack."""
    lines = log.splitlines()
    wrong = [re.compile(line) for line in (HERE / "kernel-errors").read_text().splitlines()]
    first = next((i for i, line in enumerate(lines) if any(w.search(line) for w in wrong)), len(lines))
    last = lines[max(min(len(lines) - 40, first - 10), 0):]
    return last if len(last) <= 200 else [*last[:149], f"... {len(last) - 199} lines", *last[-50:]]


def boot(command, env, tests, directory, scale, say):
    """Runs the tests in one machine. Returns (Run, why it ended early or None)."""
    console, report = directory / "console.log", directory / "report.log"
    for path in (console, report):
        path.write_bytes(b"")
    command = [*command, "-serial", f"file:{console}", "-serial", f"file:{report}"]
    limits = {test.name: test.timeout for test in tests}
    run, wrong = Run(), None
    follow, kernel = Tail(report), Tail(console)
    with open(directory / "qemu.log", "wb") as log:
        qemu = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True, preexec_fn=go_first if "PVSCHED_LAB_SLOWDOWN" in env else
                                die_with_parent)
    started = time.monotonic()
    try:
        deadline, phase = started + BOOT_LIMIT * scale, "its boot"
        while wrong is None:
            ended = qemu.poll() is not None
            for line in follow.lines():
                run.line(line, directory, say)
            for line in kernel.lines():
                if "Kernel panic" in line or "BUG:" in line:
                    say(f"  console | {line}")
            if run.release and phase == "its boot":
                say(f"{run.release} up after {time.monotonic() - started:.1f} s")
            now = (run.current or {}).get("test") or ("its end" if run.release else "its boot")
            if now != phase:
                phase = now
                deadline = time.monotonic() + scale * (limits.get(phase, 0) + END_GRACE)
            if ended:
                if not run.done:
                    wrong = f"the machine stopped during {phase}"
                elif run.lost:
                    wrong = "the tests' files did not come whole"
                break
            if time.monotonic() > deadline:
                wrong = f"no sign of life during {phase}: killed"
            else:
                time.sleep(0.1)
    finally:
        if qemu.poll() is None:
            qemu.kill()
        qemu.wait()
    if wrong:
        said = [line for line in (directory / "qemu.log").read_text(errors="replace").splitlines()
                if "TCG doesn't support" not in line and "has no peer" not in line]
        wrong += f" (QEMU: {said[-1]})" if said else ""
        run.broken(wrong, say)
        say(f"{wrong}; the last lines of its log:")
        for line in last_lines(console.read_text(errors="replace")):
            say(f"  console | {line.rstrip()}")
    return run, wrong
