#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The units of data/: what systemd reads in them is what manual and code say."""
import configparser
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
failed = 0


def report(name, good, why=""):
    global failed
    failed += not good
    print(f"ok {name}" if good else f"not ok {name}: {why}", flush=True)


def unit(name):
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    parser.read(ROOT / "data" / name)
    return parser


def host():
    service = unit("pvsched.service")["Service"]
    manual = (ROOT / "man/pvsched-serve.1.scd").read_text()
    listed = set(re.findall(r"^\|  (CAP_\w+)$", manual, re.M))
    allowed = set(service["CapabilityBoundingSet"].split()) - {"CAP_SETPCAP"}  # empties the bounding set
    report("unit_of_the_broker_allows_what_the_manual_names", listed == allowed, listed ^ allowed)
    wanted = {"Type": "notify", "KillMode": "process", "Restart": "on-failure",
              "NoNewPrivileges": "yes", "ProtectSystem": "strict", "RuntimeDirectory": "pvsched"}
    wrong = {key for key, value in wanted.items() if service.get(key) != value}
    report("unit_of_the_broker_is_confined_and_outlived_by_its_guardian", not wrong, wrong)
    name = re.search(r'\.name = "(.*)"', (ROOT / "src/actuator/kmod/module/main.c").read_text()).group(1)
    report("unit_of_the_broker_lets_it_reach_the_module",
           f"/dev/{name}" in service.get("DeviceAllow", "") and service.get("DevicePolicy") == "closed"
           and "PrivateDevices" not in service, name)
    report("unit_of_the_broker_has_a_watchdog", int(service.get("WatchdogSec", "0")) >= 10,
           service.get("WatchdogSec"))
    report("unit_of_the_broker_loads_kvm_first",
           "modprobe@kvm.service" in unit("pvsched.service")["Unit"]["After"].split())


def guest():
    """A host's broker that comes later than the guest is found."""
    parser = unit("pvsched-guest.service")
    report("unit_of_the_guest_never_gives_up",
           parser["Unit"].get("StartLimitIntervalSec") == "0"
           and parser["Service"].get("Restart") == "on-failure"
           and int(parser["Service"].get("RestartSec", "0")) >= 5)


def verify():
    """systemd's own opinion, which names keys that it does not know."""
    if not shutil.which("systemd-analyze"):
        print("skip units_are_understood_by_systemd: no systemd-analyze")
        return
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((ROOT / "data").glob("*.service")):
            copy = pathlib.Path(folder) / path.name
            copy.write_text(re.sub(r"@bindir@/[\w-]+", "/bin/true", path.read_text()))
            run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], text=True,
                                 stdin=subprocess.DEVNULL, capture_output=True, check=False)
            said += "".join(line for line in run.stderr.splitlines(True) if path.name in line)
    report("units_are_understood_by_systemd", not said, " ".join(said.split()))


host()
guest()
verify()
sys.exit(failed > 0)
