# SPDX-License-Identifier: GPL-2.0-only
"""What L1 boots: a vmlinux out of Debian's package, and an initramfs with busybox, the modules
asked for, the project as built, and the lab's tests. Owns no state; writes only what it is told.
"""
import io
import lzma
import os
import pathlib
import re
import shutil
import stat
import struct
import subprocess

from cache import LabError

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
# Programs that unpack a bzImage's payload, by its first bytes.
FORMATS = {b"\xfd7zXZ": "xz", b"\x02\x21\x4c\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}


def bzimage(tree):
    """The kernel as Debian ships it."""
    images = [*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    if len(images) != 1:
        raise LabError(f"{tree}: {len(images)} kernel images, wanted one")
    return images[0]


def extract_vmlinux(tree, tools):
    """Extracts vmlinux: L1 boots it by PVH, seconds faster than a bzImage."""
    path = bzimage(tree)
    image = path.read_bytes()
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        raise LabError(f"{path}: not a bzImage")
    # Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1f1] or 4) + 1) * 512 + offset
    payload = image[start:start + length]
    program = next((FORMATS[magic] for magic in FORMATS if payload.startswith(magic)), None)
    if not program:
        raise LabError(f"{path}: payload begins with {payload[:6].hex()}: add what unpacks "
                       "it to FORMATS in lab/image.py and to lab/packages")
    if program == "xz":
        vmlinux = lzma.LZMADecompressor().decompress(payload)
    else:
        libs = f"{tools}/usr/lib/x86_64-linux-gnu:{tools}/lib/x86_64-linux-gnu"
        # The kernel appends its size to the payload: the exit status complains of that.
        vmlinux = subprocess.run([tools / "usr/bin" / program, "-d", "-c", "-q"], input=payload,
                                 capture_output=True, check=False,
                                 env=dict(os.environ, LD_LIBRARY_PATH=libs)).stdout
    if not vmlinux.startswith(b"\x7fELF"):
        raise LabError(f"{path}: what {program} extracted is no ELF file")
    (tree / "vmlinux").write_bytes(vmlinux)


class Kernel:
    """An unpacked kernel: .vmlinux, .bzimage, .release, and its modules by name."""

    def __init__(self, tree):
        self.vmlinux = tree / "vmlinux"
        self.bzimage = bzimage(tree)
        bases = [*tree.glob("lib/modules/*"), *tree.glob("usr/lib/modules/*")]
        self.release = bases[0].name
        self.files = {}
        for base in bases:
            for path in (base / "kernel").rglob("*.ko*"):
                self.files[path.name.split(".")[0].replace("-", "_")] = path
            for line in self.builtin(base):
                self.files.setdefault(pathlib.Path(line).stem.replace("-", "_"), None)

    @staticmethod
    def builtin(base):
        path = base / "modules.builtin"
        return path.read_text().split() if path.exists() else []

    def load_order(self, names):
        """(name, contents) of the modules and what they depend on, in insmod order."""
        order = {}

        def add(name):
            name = name.replace("-", "_")
            if name in order:
                return
            if name not in self.files:
                raise LabError(f"kernel {self.release} has no module {name}")
            if self.files[name] is None: # built in
                return
            data = self.files[name].read_bytes()
            if self.files[name].suffix == ".xz":
                data = lzma.decompress(data)
            depends = re.search(rb"\0depends=([^\0]*)\0", data)
            for other in filter(None, depends.group(1).decode().split(",") if depends else []):
                add(other)
            order[name] = data
        for name in names:
            add(name)
        return list(order.items())


class Cpio:
    """Writes an initramfs (newc, uncompressed: unpacking costs emulated time)."""

    def __init__(self, file):
        self.file = file
        self.inode = 0
        self.seen = set()

    def entry(self, name, mode, data=b"", device=(0, 0)):
        name = name.lstrip("/")
        if name in self.seen:
            return
        parent = os.path.dirname(name)
        if parent:
            self.entry(parent, stat.S_IFDIR | 0o755)
        self.seen.add(name)
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self.file.write(header + b"\0" * (-len(header) % 4))
        self.file.write(data + b"\0" * (-len(data) % 4))

    def put(self, name, data, executable=False):
        self.entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)

    def copy(self, source, name):
        """A file as it is; a link is followed: the image has its own layout."""
        source = pathlib.Path(source)
        self.put(name, source.read_bytes(), os.access(source, os.X_OK))

    def link(self, name, target):
        self.entry(name, stat.S_IFLNK | 0o777, target.encode())

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.file.write(b"\0" * (-self.file.tell() % 4)) # another archive may follow
        self.file.flush()


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries(programs, env=None):
    """What the dynamic loader would map for these programs, by ldd."""
    if not programs:
        return set()
    result = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False,
                            env=env)
    lost = re.findall(r"^\s*(\S+) => not found", result.stdout, re.M)
    if lost:
        raise LabError(f"libraries not found on this system: {', '.join(sorted(set(lost)))}")
    found = set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", result.stdout, re.M))
    # glibc opens it where a thread is to end before it returns
    unwinders = {pathlib.Path(path).with_name("libgcc_s.so.1") for path in found if "/libc.so" in path}
    return found | {str(path) for path in unwinders if path.exists()}


def project_files(build):
    """What of the build tests use: programs, shared objects, BPF objects, guest images."""
    for directory, names, files in os.walk(build):
        names[:] = [n for n in names if not n.endswith(".p") and
                    n not in ("meson-private", "meson-logs", "meson-info", "lab")]
        for file in files:
            path = pathlib.Path(directory) / file
            wanted = file.endswith((".bpf.o", ".bin")) or ".so" in file
            if path.is_file() and not path.is_symlink() and \
               (wanted or (os.access(path, os.X_OK) and is_elf(path))):
                yield path
            elif path.is_symlink() and ".so" in file:
                yield path


def find_program(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise LabError(f"a test needs the program {name}, which this system lacks: "
                       "add its package to packages.txt and run make setup")
    return found


def add_modules(cpio, folder, order):
    for name, data in order:
        cpio.put(f"{folder}/{name}.ko", data)
    cpio.put(f"{folder}/order", "".join(f"{name}\n" for name, _ in order).encode())


Q35_FILES = ["seabios/bios-256k.bin", "qemu/kvmvapic.bin", "qemu/pvh.bin", "qemu/linuxboot_dma.bin"]


def add_linux_guest(cpio, kernel, tools, qemu, build, programs, q35=False):
    """/l2 in L1: a small QEMU, the same kernel, and an initramfs that runs a task (lib.sh). With
    q35 the large QEMU, too, and the modules of its virtio-serial ports."""
    qemus = [qemu.tree / "usr/bin/qemu-system-x86_64-microvm"]
    cpio.copy(qemus[0], "l2/qemu")
    if q35:
        qemus.append(qemu.tree / "usr/bin/qemu-system-x86_64")
        cpio.copy(qemus[1], "l2/qemu-q35")
        for name in Q35_FILES:
            cpio.copy(qemu.tree / "usr/share" / name, f"l2/share/{os.path.basename(name)}")
    for library in sorted(libraries(qemus, qemu.env)):
        # Those of the C library keep their place, the loader's; the others go beside QEMU.
        private = library.startswith(str(qemu.tree))
        cpio.copy(library, f"l2/lib/{os.path.basename(library)}" if private else library)
    cpio.copy(qemu.tree / "usr/share/qemu/qboot.rom", "l2/qboot.rom")
    cpio.copy(kernel.vmlinux, "l2/vmlinux")
    cpio.copy(kernel.bzimage, "l2/bzImage")
    inner = Cpio(io.BytesIO())
    inner.entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    inner.copy(tools / "bin" / "busybox", "bin/busybox")
    inner.put("init", (HERE / "init-l2").read_bytes(), executable=True)
    inner.copy(build / "src" / "guest" / "linux" / "pvsched-guest", "bin/pvsched-guest")
    if q35:
        add_modules(inner, "modules", kernel.load_order(["virtio-pci", "virtio-console"]))
    found = [find_program(name) for name in programs]
    for name, file in zip(programs, found):
        inner.copy(file, f"usr/bin/{name}")
    for library in sorted(libraries(found)):
        inner.copy(library, library)
    inner.close()
    cpio.put("l2/initramfs", inner.file.getvalue())


def build_initramfs(file, kernel, tools, qemu, build, tests, module=None):
    """Writes the initramfs of L1, with what the tests' headers ask for. module: pvsched.ko."""
    cpio = Cpio(file)
    cpio.entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name in ("proc", "sys", "tmp", "run", "out"):
        cpio.entry(name, stat.S_IFDIR | 0o755)
    cpio.copy(tools / "bin" / "busybox", "bin/busybox")
    cpio.put("init", (HERE / "init").read_bytes(), executable=True)
    for name in ("lib.sh", "cyclictest.sh", "scx-soak.sh", "qemu-vm.sh"):
        cpio.copy(HERE / name, f"lab/{name}")
    cpio.copy(HERE / "kernel-errors", "lab/kernel-errors")
    cpio.put("lab/test", b'. /lab/lib.sh\n. "/lab/tests/$1.sh"\nexit $LAB_FAILED\n')
    order = kernel.load_order(["kvm-amd", *(name for test in tests for name in test.modules)])
    add_modules(cpio, "lab/modules", order)
    if module:
        cpio.copy(module, "lab/pvsched.ko")
    for test in tests:
        cpio.copy(test.path, f"lab/tests/{test.path.name}")
    if any("linux" in test.guests for test in tests):
        add_linux_guest(cpio, kernel, tools, qemu, build,
                        sorted({name for test in tests for name in test.inner}),
                        any(test.machine == "q35" for test in tests))

    dynamic = []
    for name in sorted({program for test in tests for program in test.programs}):
        found = find_program(name)
        if is_elf(found):
            dynamic.append(found)
        cpio.copy(found, f"usr/bin/{name}")
        if name == "bash":
            cpio.link("bin/bash", "/usr/bin/bash")
    for file in project_files(build):
        name = f"pvsched/build/{file.relative_to(build)}"
        if file.is_symlink():
            cpio.link(name, os.readlink(file))
            continue
        cpio.copy(file, name)
        if is_elf(file) and not file.name.endswith(".o"):
            dynamic.append(file)
    for file in sorted((ROOT / "tests" / "native").glob("*")):
        if file.is_file():
            cpio.copy(file, f"pvsched/tests/native/{file.name}")
    cpio.link("usr/bin/pvsched", "/pvsched/build/src/cli/pvsched")
    for library in sorted(libraries(dynamic)):
        if not library.startswith(f"{build}/"):
            cpio.copy(library, library)
    cpio.close()
