#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
"""The pvsched command as a user meets it: help, wrong usage, hosts that lack something, reports.

Each case is a function; hosts that lack something are made with a mount namespace of their own.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ["PVSCHED_BUILD"])
PVSCHED = str(BUILD / "src/cli/pvsched")
GUEST = str(BUILD / "src/guest/linux/pvsched-guest")
LOCK = "/run/pvsched/broker.lock"
failed = 0
needing_kvm = set()


def needs_kvm(case):
    """A case that boots a guest; lab/tests has its like for hosts without KVM of their own."""
    needing_kvm.add(case)
    return case


def call(*args, before=None, timeout=60, **more):
    """before: shell commands to run in a mount namespace of its own first."""
    command = [PVSCHED, *args]
    if before:
        command = ["unshare", "-m", "sh", "-ec", before + '; exec "$@"', "sh", *command]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, **more)


def wait_for_no_broker():
    """Another test's broker may still be ending."""
    if os.path.exists(LOCK):
        subprocess.run(["flock", "-w", "30", LOCK, "true"], check=True)


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(w) for w in what))


def refused(result, status, *words):
    lines = [line for line in result.stderr.splitlines() if not line.startswith("pvsched bench: ")]  # progress
    check(result.returncode == status, "exit", result.returncode, result.stderr, result.stdout)
    check(len(lines) == 1, "not one line:", result.stderr)
    check(lines[0].startswith("pvsched: "), lines[0])
    for word in words:
        check(word in lines[0], f"no '{word}' in: {lines[0]}")


def command_version_and_help_succeed():
    check(call("--version").stdout.startswith("pvsched "), "no version")
    text = call("--help").stdout
    for name in ("check", "run", "bench", "serve", "list", "stat", "policy",
                 "budget"):
        check(name in text, name)
        result = call(name, "--help")
        check(result.returncode == 0 and "usage:" in result.stdout, name)
        for line in result.stdout.splitlines():
            check(len(line) <= 82, "too wide:", line)


def command_wrong_usage_exits_2_with_a_hint():
    refused(call(), 2, "pvsched --help")
    refused(call("nope"), 2, "nope", "pvsched --help")
    refused(call("bench", "--nope"), 2, "--nope", "pvsched bench --help")
    refused(call("bench", "--workload", "nope"), 2, "nope", "busy-random")
    refused(call("bench", "--variant", "nope"), 2, "nope", "pvsched")
    refused(call("bench", "--rounds", "0"), 2, "out of range", "1 to 1000")
    refused(call("bench", "--demo", "--quick"), 2, "exclude")
    refused(call("run", "--cpus", "9"), 2, "out of range", "1 to 8")
    refused(call("run", "--workload", "nope"), 2, "nope", "busy-random")
    refused(call("run", "--hogs", "-1"), 2, "not a number")
    wait_for_no_broker()
    refused(call("serve", "--actuator", "nope"), 1, "no actuator 'nope'", "agent", "scx")
    refused(call("check", "operand"), 2, "operand")


def command_wrong_usage_with_json_is_json():
    result = call("check", "--json", "--nope")
    check(result.returncode == 2 and not result.stderr, result)
    check("--nope" in json.loads(result.stdout)["error"]["why"], result.stdout)
    result = call("bench", "--rounds", "x", "--json", "-")
    check(json.loads(result.stdout)["error"]["exit"] == 2, result.stdout)


def command_full_output_fails():
    with open("/dev/full", "w") as full:
        result = subprocess.run([PVSCHED, "--help"], stdout=full, stderr=subprocess.PIPE,
                                text=True)
    check(result.returncode == 1 and "standard output" in result.stderr, result)


def check_this_host_is_described():
    result = call("check", "--json")
    found = json.loads(result.stdout)
    check(found["ok"] == (result.returncode == 0), result)
    for section in ("kvm", "bpf", "events", "actuators", "limits"):
        check(found[section], "nothing in", section)
    text = call("check")
    check(text.returncode == result.returncode, text)
    for line in text.stdout.splitlines():
        check(len(line) <= 80, "too wide:", line)
    for event in found["events"]:
        check(event["event"] in text.stdout, event)
        check(event["usable"] or event["why"], "no reason:", event)


NO_KVM = "mount -t tmpfs tmpfs /dev"
NO_BTF = "mount -t tmpfs tmpfs /sys/kernel/btf"


def check_without_kvm_says_so():
    result = call("check", "--json", before=NO_KVM)
    found = json.loads(result.stdout)
    row = [r for r in found["kvm"] if r["name"] == "/dev/kvm"][0]
    check(result.returncode == 1 and not found["ok"] and row["state"] == "no", row)


def check_without_btf_says_so():
    result = call("check", before=NO_BTF)
    check(result.returncode == 1, result)
    check("CONFIG_DEBUG_INFO_BTF" in " ".join(result.stdout.split()), result.stdout)


def check_without_privilege_says_so():
    result = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                             PVSCHED, "check"], capture_output=True, text=True)
    check(result.returncode == 1, result)
    check("CAP_BPF" in result.stdout and "run as root" in " ".join(result.stdout.split()),
          result.stdout)


def run_without_kvm_is_refused():
    wait_for_no_broker()
    refused(call("run", "--seconds", "1", before=NO_KVM), 1, "/dev/kvm", "load kvm")
    refused(call("bench", "--quick", "--variant", "other", before=NO_KVM), 1, "/dev/kvm")


def run_without_btf_is_refused():
    wait_for_no_broker()
    refused(call("run", "--seconds", "1", before=NO_BTF), 1, "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF")


def run_without_capabilities_is_refused():
    wait_for_no_broker()
    result = subprocess.run(["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", PVSCHED,
                             "run", "--seconds", "1"], capture_output=True, text=True)
    refused(result, 1, "permission denied", "run as root")


def run_unknown_policy_is_refused():
    wait_for_no_broker()
    refused(call("run", "--policy", "nope", "--seconds", "1"), 1, "nope")


def budget_is_shown_set_and_refused():
    wait_for_no_broker()
    with tempfile.TemporaryDirectory() as folder:
        socket = ["--socket", folder + "/socket"]
        refused(call("budget", *socket), 1, "pvsched serve")
        with subprocess.Popen([PVSCHED, "serve", *socket], stdout=subprocess.PIPE,
                              text=True) as serve:
            try:
                check(serve.stdout.readline() == "ready\n")
                host = json.loads(call("budget", *socket, "--json").stdout)["budgets"][0]
                check(host["of"] == "host" and host["boost_percent"] == 40, host)
                result = call("budget", "host", "--boost", "12%", "--cap", "1.5ms", "--ceiling",
                              "fifo:3", *socket)
                check(result.returncode == 0 and "12 %" in result.stdout, result)
                host = json.loads(call("budget", "host", *socket, "--json").stdout)["budgets"][0]
                check((host["boost_percent"], host["cap_us"], host["ceiling_fifo"])
                      == (12, 1500, 3), host)
                refused(call("budget", "host", "--cap", "7", *socket), 2, "--cap", "1.5ms")
                refused(call("budget", "host", "--boost", "95", *socket), 2, "--boost", "1 to 90")
                refused(call("budget", "--boost", "5", *socket), 2, "host")
                refused(call("budget", "nobody", *socket), 1, "nobody", "no such VM")
                refused(call("budget", "3/1", "--rate", "5", *socket), 1, "3/1", "no such VM")
                call("budget", "host", "--boost", "default", *socket)
                host = json.loads(call("budget", "host", *socket, "--json").stdout)["budgets"][0]
                check((host["boost_percent"], host["cap_us"]) == (40, 1500), host)
            finally:
                serve.send_signal(signal.SIGTERM)
                serve.wait(timeout=30)


def serve_check_config_says_what_is_wrong_and_ends():
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "conf")
        broken = [("[broker]\nboost = 30\n\n[vm a]\nserve = maybe\n", "line 5", "yes or no"),
                  ("[broker]\npolice = off\n", "line 2", "no key 'police'"),
                  ("# one\n[vm " + "x" * 60 + "]\nserve = no\n", "line 2", "longer than 49")]
        for text, line, why in broken:
            pathlib.Path(conf).write_text(text)
            refused(call("serve", "--check-config", "--config", conf), 1, conf, line, why)
        pathlib.Path(conf).write_text("[broker]\nboost = 30\n[vm a]\nserve = no\n")
        result = call("serve", "--check-config", "--config", conf)
        check(result.returncode == 0 and not result.stdout and not result.stderr, result)
        refused(call("serve", "--check-config", "--config", folder + "/none"), 1, folder + "/none")


@contextlib.contextmanager
def served(*args, prefix=(), **env):
    """A broker, and the socket on which it tells the service manager how it is."""
    wait_for_no_broker()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(folder + "/notify")
        manager.settimeout(30)
        env = {**os.environ, "NOTIFY_SOCKET": folder + "/notify", **env}
        with subprocess.Popen([*prefix, PVSCHED, "serve", "--socket", folder + "/socket", *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as serve:
            try:
                first = serve.stdout.readline()
                check(first == "ready\n", first or serve.stderr.read())
                check("READY=1" in manager.recv(256).decode())
                yield serve, manager
            finally:
                manager.close()  # whose queue may be full: who tells it waits
                serve.send_signal(signal.SIGTERM)
                try:
                    serve.wait(timeout=30)
                finally:
                    serve.kill()


def serve_reload_puts_the_watchdog_off_by_nothing():
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "conf")
        pathlib.Path(conf).write_text("")
        with served("--config", conf, WATCHDOG_USEC="1000000") as (serve, manager):
            deadline, told = time.monotonic() + 20, 0
            while told < 3 and time.monotonic() < deadline:
                serve.send_signal(signal.SIGHUP)
                told += "WATCHDOG=1" in manager.recv(256).decode()
                time.sleep(0.02)
            check(told == 3, "told", told, "times")


def serve_needs_no_more_rights_than_its_unit_allows():
    unit = (pathlib.Path(__file__).parents[2] / "data/pvsched.service").read_text()
    line = [l for l in unit.splitlines() if l.startswith("CapabilityBoundingSet=")][0]
    caps = [cap.lower().replace("cap_", "+", 1) for cap in line.split("=")[1].split()]
    prefix = ["setpriv", "--bounding-set", ",".join(["-all", *caps]), "--no-new-privs"]
    with served(prefix=prefix) as (serve, _):
        with open(f"/proc/{serve.pid}/status", encoding="ascii") as status:
            check("CapBnd:\t0000000000000000" in status.read())


def serve_that_cannot_open_memory_says_so():
    prefix = ["setpriv", "--bounding-set", "-dac_override"]
    with served(prefix=prefix) as (serve, _):
        line = serve.stderr.readline()
        check("CAP_DAC_OVERRIDE is missing" in line, line)


def guest_latency_that_cannot_look_says_so():
    for args in ([], ["--clear"], ["--pid", str(os.getpid())]):
        result = subprocess.run([GUEST, "latency", *args], capture_output=True, text=True)
        check(result.returncode == 1 and "start 'pvsched-guest run'" in result.stderr, result)
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "cgroup.procs").touch()
        result = subprocess.run([GUEST, "latency", "--cgroup", folder], capture_output=True, text=True)
        check(result.returncode == 1 and "no cgroup of v2" in result.stderr, result)


@needs_kvm
def run_missing_image_is_refused():
    wait_for_no_broker()
    refused(call("run", "--image", "/nope.bin", "--seconds", "1"), 1, "/nope.bin")


@needs_kvm
def run_publishes_and_is_granted():
    wait_for_no_broker()
    result = call("run", "--seconds", "3", "--cpus", "2", "--hogs", "2", "--workload", "busy",
                  "--json")
    check(result.returncode == 0, result)
    found = json.loads(result.stdout)
    check(found["handshake"]["result"] == "OK", found["handshake"])
    last = found["snapshots"][-1]["vcpus"]
    check(len(last) == 2, last)
    check(last[0]["plays"] == "busy" and last[0]["current"]["valid"], last[0])
    check(last[0]["next_event"] > 0 and last[0]["boosts"] > 0, last[0])


@needs_kvm
def run_joins_a_broker_that_serves():
    wait_for_no_broker()
    with tempfile.TemporaryDirectory() as folder:
        socket = folder + "/socket"
        with subprocess.Popen([PVSCHED, "serve", "--socket", socket], stdout=subprocess.PIPE,
                              text=True) as serve:
            try:
                check(serve.stdout.readline() == "ready\n", "serve did not get ready")
                refused(call("serve", "--socket", folder + "/other"), 1, "runs on this host")
                refused(call("run", "--policy", "off", "--seconds", "1"), 1, "--policy")
                refused(call("run", "--seconds", "1"), 1, "does not listen there", "--socket")
                result = call("run", "--socket", socket, "--image", "/none", "--seconds", "1")
                refused(result, 1, "/none")
                check("socket" not in result.stderr, result.stderr)
                result = call("run", "--socket", socket, "--seconds", "1", "--json")
                check(result.returncode == 0, result)
                check(json.loads(result.stdout)["broker"] == "joined", result.stdout)
            finally:
                serve.terminate()
            check(serve.wait(20) == 0, "serve's exit status")
        check(not os.path.exists(socket), "the socket was left behind")


@contextlib.contextmanager
def as_nobody(folder):
    """A prefix for commands: a user without rights, of the group nogroup, who may open /dev/kvm."""
    kvm = os.stat("/dev/kvm").st_rdev
    yield ["unshare", "--mount", "sh", "-ec",
           f"mount -t tmpfs -o mode=755 none {folder}\n"  # where the folder is, devices may be none
           f"mknod -m 666 {folder}/kvm c {os.major(kvm)} {os.minor(kvm)}\n"
           f"mount --bind {folder}/kvm /dev/kvm\n"
           'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"', "sh"]


def socket_of(serve):
    path = serve.args[serve.args.index("--socket") + 1]
    os.chmod(os.path.dirname(path), 0o755)
    return path


@needs_kvm
def run_without_root_joins_a_broker_of_its_group():
    with tempfile.TemporaryDirectory() as folder, as_nobody(folder) as nobody:
        run = [*nobody, PVSCHED, "run", "--seconds", "1", "--json", "--socket"]
        with served(prefix=["setpriv", "--regid", "65534", "--clear-groups"]) as (serve, _):
            result = subprocess.run([*run, socket_of(serve)], capture_output=True, text=True, timeout=60)
            check(result.returncode == 0, result)
            check(json.loads(result.stdout)["broker"] == "joined", result.stdout)
        with served() as (serve, _):  # of root's group
            result = subprocess.run([*run, socket_of(serve)], capture_output=True, text=True, timeout=60)
            check(result.returncode == 1 and "join the group" in result.stdout, result)


def list_of_vms_holds_nothing_that_a_terminal_obeys():
    with served() as (serve, _), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as vmm:
        vmm.connect(socket_of(serve))
        vmm.send(struct.pack("<IIiIII64s168x", 1, 1, 0, 0, 1, 1, b"a\xc2\x9b2J\x1b[Hz"))
        check(struct.unpack_from("<i", vmm.recv(256), 8) == (0,), "HELLO was refused")
        for args in ([], ["--json"]):
            result = call("list", "--socket", socket_of(serve), *args)
            check("a??2J?[Hz" in result.stdout, result)


def thread_of(pid, name):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    return None


@contextlib.contextmanager
def stopped_thread(tid):
    """By ptrace: SIGSTOP would stop all the threads of its process."""
    seize, interrupt, detach, wall = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.ptrace(seize, tid, None, None) == 0, "seize", ctypes.get_errno())
    check(libc.ptrace(interrupt, tid, None, None) == 0, "interrupt", ctypes.get_errno())
    os.waitpid(tid, wall)
    yield
    libc.ptrace(detach, tid, None, None)


@needs_kvm
def run_whose_broker_is_busy_for_long_goes_on():
    """As when a host that is slow, or loaded, swaps a policy: the client waits two seconds."""
    wait_for_no_broker()
    with subprocess.Popen([PVSCHED, "run", "--seconds", "10", "--hogs", "2", "--workload", "busy",
                           "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as run:
        until = time.monotonic() + 20
        broker = None
        while not broker and time.monotonic() < until:
            time.sleep(0.1)
            broker = thread_of(run.pid, "pvsched-broker")
        time.sleep(2)  # booted
        with stopped_thread(broker):
            time.sleep(4)
        out, err = run.communicate(timeout=60)
    check(run.returncode == 0, run.returncode, out[-300:], err)
    check("run: the broker is gone" in err and "run: the broker is back" in err, err)
    shots = json.loads(out)["snapshots"]
    check(shots[-1]["seconds"] >= 9, shots[-1])
    # joined again, and boosted again by who counts anew
    check(shots[-1]["vcpus"][0]["boosts"] > 0, shots[-1])


@needs_kvm
def bench_quick_measures_every_cell():
    with tempfile.TemporaryDirectory() as folder:
        result = call("bench", "--quick", "--variant", "other,fifo", "--hogs", "0,2", "--json",
                      folder + "/b.json", "--html", folder + "/b.html", "--raw", folder + "/raw",
                      "--samples", "50")
        check(result.returncode == 0, result)
        with open(folder + "/b.json") as file:
            found = json.load(file)
        check(sorted(os.listdir(folder)) == ["b.html", "b.json", "raw"], os.listdir(folder))
        check(len(found["cells"]) == 4 * 2 * 2, len(found["cells"]))
        for cell in found["cells"]:
            check(cell["samples"] == 50 and sum(n for _, n in cell["hist"]) == 50, cell)
            check(cell["p50_us"] <= cell["p99_us"] <= cell["p999_us"] <= cell["max_us"], cell)
            check(cell["max_us"] > 0, cell)
            # static FIFO may leave them nothing at all
            check(cell["hogs"] or not cell["hogs_share"], cell)
            check(not cell["hogs"] or cell["variant"] == "fifo" or cell["hogs_share"] > 0, cell)
            raw = f"{folder}/raw/{cell['workload']}-{cell['variant']}-{cell['hogs']}-1.txt"
            with open(raw) as file:
                values = sorted(int(line) for line in file)
            check(values[-1] == round(cell["max_us"] * 1000), raw)
            check(values[24] == round(cell["p50_us"] * 1000), raw)
        for line in result.stdout.splitlines():
            check(len(line) <= 80 or line.startswith("wrote"), "too wide:", line)


@needs_kvm
def bench_pvsched_boosts_and_counts():
    wait_for_no_broker()
    # what --quick is, and what programs cost
    result = call("bench", "--rounds", "1", "--samples", "300", "--hogs", "4", "--workload", "busy",
                  "--variant", "pvsched", "--json", "-")
    check(result.returncode == 0, result)
    found = json.loads(result.stdout)
    cell = found["cells"][0]
    check(cell["boosts"] > 0 and 0 < cell["boosted_share"] < 1, cell)
    check(cell["apply_p50_us"] > 0 and cell["boost_p999_us"] > 0, cell)
    check(any(p["attached_to"] == "sched_switch" and p["runs"] > 0 for p in found["programs"]),
          found["programs"])


def bench_unwritable_report_is_refused_at_once():
    started = time.monotonic()
    refused(call("bench", "--json", "/nope/b.json"), 1, "/nope/b.json")
    refused(call("bench", "--raw", "/dev/null"), 1, "/dev/null")
    check(time.monotonic() - started < 5, "it ran first")


@needs_kvm
def bench_report_leaves_a_pipe_and_a_link_what_they_are():
    with tempfile.TemporaryDirectory() as folder:
        pipe, link, file = (f"{folder}/{name}" for name in ("pipe", "link", "file"))
        os.mkfifo(pipe)
        pathlib.Path(file).write_text("an older one")
        os.symlink("file", link)
        bench = ["bench", "--rounds", "1", "--samples", "50", "--hogs", "0", "--workload", "busy", "--variant",
                 "other", "--html", pipe, "--json", link]
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as cat:
            try:
                result = call(*bench)
                check(result.returncode == 0, result)
                check("</html>" in cat.stdout.read())
            finally:
                cat.kill()
        check(len(json.loads(pathlib.Path(file).read_text())["cells"]) == 1)
        check(stat.S_ISFIFO(os.lstat(pipe).st_mode) and os.readlink(link) == "file", os.listdir(folder))
        check(sorted(os.listdir(folder)) == ["file", "link", "pipe"], os.listdir(folder))
        # a link to what is not there yet, and a reader who leaves
        os.unlink(file)
        with subprocess.Popen(["sh", "-c", f": <{pipe}"]) as reader:
            refused(call(*bench), 1, pipe, "Broken pipe")
            reader.kill()
        check(len(json.loads(pathlib.Path(file).read_text())["cells"]) == 1)
        check(sorted(os.listdir(folder)) == ["file", "link", "pipe"], os.listdir(folder))


def bench_on_one_cpu_is_refused():
    cpu = str(max(os.sched_getaffinity(0)))
    result = subprocess.run(["taskset", "-c", cpu, PVSCHED, "bench", "--quick"],
                            capture_output=True, text=True)
    refused(result, 1, "taskset")


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(p) for p in file.read().split()]


@needs_kvm
def bench_killed_leaves_no_hog():
    with subprocess.Popen([PVSCHED, "bench", "--variant", "other", "--hogs", "3"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        deadline = time.monotonic() + 20
        while len(children_of(bench.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        hogs = children_of(bench.pid)
        check(len(hogs) == 3, hogs)
        bench.kill()
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{h}/exe") for h in hogs) and time.monotonic() < deadline:
        time.sleep(0.05)
    check(not any(os.path.exists(f"/proc/{h}/exe") for h in hogs), "a hog lives")


@needs_kvm
def bench_interrupted_leaves_no_file():
    wait_for_no_broker()  # of a bench that was killed
    with tempfile.TemporaryDirectory() as folder:
        with subprocess.Popen([PVSCHED, "bench", "--variant", "other", "--html",
                               folder + "/b.html"], stderr=subprocess.PIPE, text=True) as bench:
            bench.stderr.readline()  # the first run has begun
            bench.send_signal(signal.SIGINT)
            check(bench.wait(30) == 1, "exit", bench.returncode)
            said = bench.stderr.read()
            check("interrupted" in said, said)
        check(not os.listdir(folder), os.listdir(folder))


CASES = [value for name, value in list(globals().items())
         if callable(value) and getattr(value, "__module__", "") == "__main__"
         and name.split("_")[0] in ("command", "check", "run", "bench", "budget", "serve", "list", "guest") and "_" in name]

for case in CASES:
    if case in needing_kvm and not os.path.exists("/dev/kvm"):
        print(f"skip {case.__name__}: this machine has no /dev/kvm", flush=True)
        continue
    try:
        case()
        print(f"ok {case.__name__}", flush=True)
    except (AssertionError, subprocess.SubprocessError, OSError, ValueError, KeyError) as e:
        failed += 1
        why = " ".join(f"{type(e).__name__}: {e}".split())
        print(f"not ok {case.__name__}: {why[:400]}", flush=True)
sys.exit(1 if failed else 0)
