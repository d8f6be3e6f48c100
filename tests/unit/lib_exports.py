#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""libpvsched exports what pvsched.h declares, and calls nothing that a library must not call."""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIB = pathlib.Path(os.environ.get("PVSCHED_BUILD", ROOT / "build")) / "src/lib"
SHARED = LIB / "libpvsched.so.1"
STATIC = LIB / "libpvsched.a"
FORBIDDEN = re.compile(r"^_*(printf|fprintf|vprintf|vfprintf|puts|putchar|fputs|fwrite|perror|syslog"
                       r"|exit|_exit|abort|err|errx|warn|warnx|pthread_create|fork|signal|sigaction)"
                       r"(_chk)?$")
failed = False


def case(name, wrong):
    global failed
    failed = failed or bool(wrong)
    print(f"not ok {name}: {', '.join(sorted(wrong))}" if wrong else f"ok {name}")


def symbols(path, *options):
    lines = subprocess.run(["nm", "--format=posix", *options, path], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    fields = [line.split() for line in lines if line and not line.endswith(":")]
    return {field[0].split("@")[0] for field in fields if field[1] != "A"}


header = (ROOT / "include/pvsched/pvsched.h").read_text()
header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
declared = set(re.findall(r"\b(pvsched_\w+)\s*\(", header)) - {"pvsched_print_fn"}
exported = symbols(SHARED, "--dynamic", "--defined-only")
case("library_exports_every_declared_function", declared - exported or
     (set() if len(declared) > 10 else {"no declarations found"}))
case("library_exports_nothing_else", exported - declared)
case("library_prints_exits_and_starts_nothing",
     {name for name in symbols(SHARED, "--dynamic", "--undefined-only") if FORBIDDEN.match(name)})
case("static_library_keeps_to_its_name_space",
     {name for name in symbols(STATIC, "--extern-only", "--defined-only")
      if not name.startswith("pvsched_")})
sys.exit(failed)
