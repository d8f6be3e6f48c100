# SPDX-License-Identifier: GPL-2.0-only
"""Builds the module of src/actuator/kmod for one of the lab's kernels, as dkms would, from Debian's
headers. In a Debian 13 tree, by chroot in namespaces of its own: the newest kernel's tools need that
C library and compiler, and the older kernels' take them. The result is cached by its sources.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess

import cache
from cache import LabError

ROOT = pathlib.Path(__file__).resolve().parent.parent
# As installed for dkms: what the module is made of, where the tree has it.
PLACE = "src/actuator/kmod/module"
SHARED = ("src/actuator/*.h", "src/actuator/kmod/*.h", "src/core/*.h", "src/events/*.h",
          "src/policy/*.c", "include/pvsched/*.h")
SOURCES = {str(file.relative_to(ROOT)): file
           for place in (f"{PLACE}/*.[ch]", f"{PLACE}/Kbuild", f"{PLACE}/Makefile", *SHARED)
           for file in sorted(ROOT.glob(place))}
BUILD_LIMIT = 600 # seconds; 5 to 20 are usual
MOUNTS = ("dev", "proc", "build", "headers", "image", "tools", "tmp")
ENTER = """
tree=$1; shift
mount --rbind /dev "$tree/dev"
mount --rbind /proc "$tree/proc"
for name in build headers image tools; do mount --bind "$1" "$tree/$name"; shift; done
exec chroot "$tree" /usr/bin/env -i PATH=/usr/bin:/usr/sbin LC_ALL=C "$@"
"""


def finish(tree):
    """What packages do when they are installed: the merged /usr, and places to mount at."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    for name in MOUNTS:
        (tree / name).mkdir()
    (tree / "usr/bin/awk").symlink_to("mawk")
    shutil.rmtree(tree / "usr/src", ignore_errors=True)
    (tree / "usr/src").symlink_to("/headers/usr/src") # headers name each other absolutely


def make(name, kernel, image_tree, headers, build, say):
    tree = cache.tree("kbuild", say, finish)
    kdir = f"/usr/src/linux-headers-{kernel.release}"
    if not (headers / kdir[1:]).is_dir():
        raise LabError(f"headers-{name} are not of {kernel.release}: run "
                       f"lab/run --relock {name} headers-{name}")
    command = ["make", "-C", f"/build/{PLACE}", f"KDIR={kdir}", "CROSS_COMPILE=x86_64-linux-gnu-",
               "CC=x86_64-linux-gnu-gcc-14", "BTF_BASE=/image/vmlinux"]
    tools = headers
    if not (headers / kdir[1:] / "vmlinux").exists(): # 6.1's lack resolve_btfids
        tools = cache.tree("headers-6.12", say)
        found = next(tools.glob("usr/lib/linux-kbuild-*/tools/bpf/resolve_btfids/resolve_btfids"))
        command.append(f"RESOLVE_BTFIDS=/tools/{found.relative_to(tools)}")
    try:
        result = subprocess.run(["unshare", "-rm", "sh", "-ec", ENTER, "sh", tree, build, headers,
                                 image_tree, tools, *command], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                timeout=BUILD_LIMIT)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the module for {kernel.release} was not built in {BUILD_LIMIT} s") from error
    (build / "log").write_text(result.stdout)
    if result.returncode or not (build / PLACE / "pvsched.ko").exists():
        raise LabError(f"the module does not build for {kernel.release}: see {build}/log")


def module(name, kernel, say):
    """pvsched.ko for the kernel, a path in the cache."""
    headers = cache.tree(f"headers-{name}", say)
    digest = hashlib.sha256(repr((kernel.release, cache.locked("kbuild"))).encode())
    for place, source in SOURCES.items():
        digest.update(place.encode() + b"\0" + source.read_bytes())
    build = cache.folder() / f"module-{name}-{digest.hexdigest()[:12]}"
    if not build.exists():
        say(f"{name}: building pvsched.ko")
        own = build.with_name(f"{build.name}.{os.getpid()}") # another run may build it, too
        shutil.rmtree(own, ignore_errors=True)
        for place, source in SOURCES.items():
            (own / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, own / place)
        make(name, kernel, kernel.vmlinux.parent, headers, own, say)
        try:
            own.rename(build)
        except OSError:
            shutil.rmtree(own)
    return build / PLACE / "pvsched.ko"
