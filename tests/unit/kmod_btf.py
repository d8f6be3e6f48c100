#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Where the module's makefile takes BTF from, for a kernel that does not run: an image made up here, with
an object of the build for a kernel."""
import gzip
import lzma
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True # the source tree stays as it is
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from cases import end, report # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MAKEFILE = ROOT / "src/actuator/kmod/module/Makefile"
KERNEL = pathlib.Path(os.environ.get("PVSCHED_BUILD", ROOT / "build"),
                      "src/actuator/kmod.bpf.o").read_bytes()
SECTORS = 3 # of the setup, beside the first


def image(packed):
    """A bzImage, as far as its payload goes; the kernel's makefiles append the size of what is in it."""
    packed += struct.pack("<I", len(KERNEL))
    head = bytearray((SECTORS + 1) * 512)
    head[0x1f1] = SECTORS
    struct.pack_into("<II", head, 0x248, 1000, len(packed))
    return bytes(head) + b"\x90" * 1000 + packed + b"\xcc" * 5000


def make(folder, target, **variables):
    return subprocess.run(["make", "-s", "-C", folder, "-f", MAKEFILE, target, "KERNEL=0.0.0-none",
                           *(f"{name}={value}" for name, value in variables.items())],
                          stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False)


with tempfile.TemporaryDirectory() as name:
    tmp = pathlib.Path(name)
    for how, pack in ("xz", lzma.compress), ("gzip", gzip.compress):
        (tmp / "image").write_bytes(image(pack(KERNEL)))
        (tmp / "kernel.elf").unlink(missing_ok=True)
        made = make(tmp, "kernel.elf", IMAGE=tmp / "image")
        elf = tmp / "kernel.elf"
        report(f"kmod_btf_{how}_image_of_a_kernel_that_does_not_run_is_unpacked",
               made.returncode == 0 and elf.exists() and elf.read_bytes() == KERNEL, made.stderr)
    (tmp / "image").write_bytes(image(b"neither"))
    made = make(tmp, "kernel.elf", IMAGE=tmp / "image")
    report("kmod_btf_image_without_it_is_an_error",
           made.returncode != 0 and "give BTF_BASE" in made.stderr, made.stderr)
    made = make(tmp, "btf", IMAGE=tmp / "none")
    report("kmod_btf_of_a_kernel_whose_image_is_not_there_fails_no_installation",
           made.returncode == 0 and "has no BTF" in made.stderr, made.stderr)
    (tmp / "image").write_bytes(image(lzma.compress(KERNEL)))
    made = make(tmp, "btf", IMAGE=tmp / "image", PAHOLE="echo", RESOLVE_BTFIDS="echo")
    report("kmod_btf_is_that_of_the_image",
           made.returncode == 0 and "--btf_base kernel.elf" in made.stdout, made.stdout + made.stderr)
end()
