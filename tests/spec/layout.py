#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Dependencies point one way, and each file carries the licence of its place."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = "GPL-2.0-only"
LIBRARY = "LGPL-2.1-or-later OR BSD-2-Clause"
WIRE = "(GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause"

# What a directory's files may include besides their own and include/.
MAY_USE = {
    "src/core": [],
    "src/json": ["src/core"],
    "src/transport": ["src/core"],
    "src/lib": ["src/core", "src/transport"],
    "src/policy": [],
    "src/events": ["src/core"],
    "src/privilege": [],
    "src/actuator": ["src/core", "src/events", "src/privilege"],
    # has the policies in it
    "src/actuator/kmod/module": ["src/core", "src/events", "src/actuator", "src/policy"],
    "src/broker": ["src/core", "src/json", "src/transport", "src/events", "src/policy",
                   "src/actuator", "src/privilege"],
    "src/guest": ["src/core", "src/json"],
    "src/vmm": ["src/core", "src/lib", "src/privilege"],
    "bench": ["src/core", "src/json", "src/lib", "src/events", "src/broker", "src/vmm"],
    "src/cli": ["src/core", "src/json", "src/lib", "src/events", "src/actuator", "src/broker",
                "src/vmm", "src/privilege", "bench"],
}
# Headers that are an interface between two sides, not a part of one.
SHARED = ["src/broker/wire.h", "src/vmm/guestabi.h"]

# The longest prefix decides.
LICENCES = {
    "": TOOLS,
    "include/pvsched/abi.h": WIRE,
    "include/pvsched/policy.h": WIRE,
    "include": LIBRARY,
    "src/core": LIBRARY,
    "src/transport": LIBRARY,
    "src/lib": LIBRARY,
    "src/guest/baremetal": LIBRARY,
    "src/broker/wire.h": LIBRARY,
    "src/vmm/guestabi.h": LIBRARY,
}
SOURCE = re.compile(r"(\.([chS]|py|sh|ld|map)|^meson_options\.txt|^packages\.txt|(^|/)meson\.build|^Makefile)$")
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)


def longest_prefix(path, table):
    return max((p for p in table if not p or path == p or path.startswith(p + "/")), key=len,
               default=None)


def resolve(path, name):
    """The file of this tree that an #include names, or None."""
    for base in path.parent, ROOT / "src", ROOT / "include", ROOT:
        file = (base / name).resolve()
        if file.is_file() and ROOT in file.parents:
            return str(file.relative_to(ROOT))
    return None


def not_installed():
    """Files of the kernel module that `make install` leaves out: what its sources include, on and on."""
    module = ROOT / "src/actuator/kmod/module"
    text = (ROOT / "src/actuator/meson.build").read_text()
    table = re.search(r"^kmod_sources = \{(.*?)^\}", text, re.M | re.S).group(1)
    listed = {f"{place}/{name}" for place, names in re.findall(r"'([^']+)': \[(.*?)\]", table, re.S)
              for name in re.findall(r"'([^']+)'", names)}
    seen, todo = set(), [module / "Kbuild", module / "Makefile", *module.glob("*.c")]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in INCLUDE.findall(file.read_text()):
            bases = file.parent, module.parent, ROOT / "src/events", ROOT / "src", ROOT / "include"
            todo += [p for p in [(base / name).resolve() for base in bases] if p.is_file()][:1]
    return sorted({str(file.relative_to(ROOT)) for file in seen} - listed)


def report(name, problems):
    print(f"not ok {name}: {'; '.join(problems)}" if problems else f"ok {name}")
    return bool(problems)


def main():
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files"], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout.split()
    files = [f for f in listed if (ROOT / f).is_file()]
    upward, licence, borrowed = [], [], []
    for file in files:
        text = (ROOT / file).read_text(errors="replace")
        script = text.startswith("#!")
        if SOURCE.search(file) or script:
            found = re.search(r"SPDX-License-Identifier: (.*?)\s*(?:\*/|-->|$)",
                              "\n".join(text.splitlines()[:3]), re.M)
            wanted = LICENCES[longest_prefix(file, LICENCES)]
            if not found or found.group(1) != wanted:
                licence.append(f"{file} is not {wanted}")
        area = longest_prefix(file, MAY_USE)
        for name in INCLUDE.findall(text) if area else []:
            target = resolve(ROOT / file, name)
            if not target or target in SHARED or target.startswith("include/"):
                continue
            if longest_prefix(target, MAY_USE) not in [area, None, *MAY_USE[area]]:
                upward.append(f"{file} includes {target}")
            # A library file that includes a GPL-only one is no library file any more.
            if (LICENCES[longest_prefix(file, LICENCES)] != TOOLS and
                    LICENCES[longest_prefix(target, LICENCES)] == TOOLS):
                borrowed.append(f"{file} includes {target}")

    failed = report("layout_dependencies_point_one_way", upward)
    failed |= report("layout_of_the_module_is_installed_whole", not_installed())
    failed |= report("licence_of_every_file_is_that_of_its_place", licence)
    failed |= report("licence_of_the_library_borrows_from_no_tool", borrowed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
