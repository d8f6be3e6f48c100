# SPDX-License-Identifier: GPL-2.0-only
"""The lab's cache: QEMU and kernels, fetched once with apt, checked, unpacked; then used offline.

Owns the cache folder (PVSCHED_LAB_CACHE, else $XDG_CACHE_HOME or ~/.cache, /pvsched-lab): deb/ as
downloaded, apt/ the private apt state, and one tree per group and lock state, complete when it
has a `.complete`. A file lock serialises fetching. Nothing on the system is installed or changed.
"""
import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
MANIFEST = HERE / "packages"
LOCK = HERE / "packages.lock"
TOOL_LIMIT = 900 # seconds; a slow network's largest package takes minutes
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class LabError(Exception):
    """What failed, on what, why, and what to do: shown as one line."""


def folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(os.environ.get("PVSCHED_LAB_CACHE") or f"{base}/pvsched-lab")


@contextlib.contextmanager
def held():
    folder().mkdir(parents=True, exist_ok=True)
    with open(folder() / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(path):
    lines = (line.split() for line in path.read_text().splitlines())
    return [fields for fields in lines if fields and not fields[0].startswith("#")]


def locked(group):
    """The lock's rows of a group: (suite, package, version, sha256)."""
    rows = [tuple(fields[1:5]) for fields in table(LOCK) if fields[0] == group]
    if not rows:
        raise LabError(f"{LOCK.name}: no group {group}: run lab/run --relock {group}")
    return rows


def mirror():
    """The archive that the system's own apt uses: only apt knows how it is reached."""
    override = os.environ.get("PVSCHED_LAB_MIRROR")
    if override:
        return override
    result = subprocess.run(["apt-get", "--print-uris", "update"], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, check=False)
    uris = re.findall(r"^'(\S+)/dists/([a-z]+)/InRelease'", result.stdout, re.M)
    codename = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(),
                         re.M)
    matching = [uri for uri, suite in uris if codename and suite == codename.group(1)]
    # A vendor's repository may carry the same suite name; Debian's archive ends in /debian.
    matching.sort(key=lambda uri: not uri.rstrip("/").endswith("/debian"))
    if not matching:
        raise LabError("apt has no source for this system's own suite: cannot tell which archive "
                       "to ask: set PVSCHED_LAB_MIRROR=URI of a Debian archive")
    return matching[0]


def run(command, cwd=None):
    """A tool that writes into the cache. Its errors are in stdout."""
    try:
        result = subprocess.run(command, cwd=cwd, text=True, check=False, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=dict(os.environ, LC_ALL="C"), timeout=TOOL_LIMIT)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{command[0]}: no end after {TOOL_LIMIT} s: look at the network and at the "
                       "disk, then run again") from error
    if result.returncode and "No space left on device" in result.stdout:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder()))
    return result


class Apt:
    """apt with sources, lists and caches of its own, for one suite."""

    def __init__(self, suite):
        self.suite = suite
        self.dir = folder() / "apt" / suite
        self.all_names = None
        for sub in ("lists/partial", "cache/archives/partial", "preferences"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        self.options = {
            "Dir::Etc::sourcelist": self.dir / "suite.sources", "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self.dir / "preferences",
            "Dir::State::lists": self.dir / "lists", "Dir::State::status": "/dev/null",
            "Dir::Cache": self.dir / "cache", "Acquire::Languages": "none",
            "Acquire::Retries": "3", "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any", "APT::Architecture": "amd64",
        }

    def run(self, tool, *arguments, cwd=None):
        options = [item for key, value in self.options.items() for item in ("-o", f"{key}={value}")]
        return run([tool, "-q", *options, *arguments], cwd)

    def update(self):
        signed = f"Signed-By: {KEYRING}\n" if os.path.exists(KEYRING) else ""
        self.options["Dir::Etc::sourcelist"].write_text(
            f"Types: deb\nURIs: {mirror()}\nSuites: {self.suite}\nComponents: main\n{signed}")
        result = self.run("apt-get", "update")
        if result.returncode:
            raise LabError(f"cannot read the index of {self.suite}: {last_error(result.stdout)}: "
                           f"the cache {folder()} lacks packages of it: connect to the network "
                           "once, or copy a filled cache there (PVSCHED_LAB_CACHE)")

    def names(self):
        if self.all_names is None:
            self.all_names = self.run("apt-cache", "pkgnames").stdout.split()
        return self.all_names

    def newest(self, pattern):
        """The name that matches, of several the one with the highest numbers; None."""
        found = [name for name in self.names() if re.fullmatch(pattern, name)]
        return max(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)], default=None)

    def show(self, packages):
        """{package: (version, sha256)} of what the suite offers."""
        output = self.run("apt-cache", "--no-all-versions", "show", *packages).stdout
        offered = {}
        for stanza in output.split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|SHA256): (\S+)$", stanza, re.M))
            if len(fields) == 3:
                offered[fields["Package"]] = fields["Version"], fields["SHA256"]
        return offered


def last_error(output):
    errors = [line for line in output.splitlines() if line[:2] in ("E:", "W:", "Er")]
    return errors[0].strip() if errors else "no reason given"


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def deb(package, version):
    return folder() / "deb" / f"{package}_{version.replace(':', '%3a')}.deb"


def check_offered(apt, group, rows):
    """Says which locked package is gone, and what to do."""
    offered = apt.show([row[1] for row in rows])
    for suite, package, version, _ in rows:
        if offered.get(package, ("",))[0] == version:
            continue
        pattern = next((p for fields in table(MANIFEST) if fields[0] == group
                        for p in fields[2:] if re.fullmatch(p, package)), re.escape(package))
        newest = apt.newest(pattern)
        there = f"{newest} {apt.show([newest])[newest][0]}" if newest else "nothing that fits"
        raise LabError(f"{package} {version} is gone from {suite} (there now: {there}): run "
                       f"lab/run --relock {group} to take the newest, or first choose another in "
                       f"{MANIFEST.relative_to(HERE.parent)}")


def download(group, rows, say):
    """Brings the missing packages of a group into deb/, each checked against the lock."""
    into = folder() / "deb" / "partial"
    for suite in sorted({row[0] for row in rows}):
        wanted = [row for row in rows if row[0] == suite]
        apt = Apt(suite)
        say(f"fetching {len(wanted)} packages from {suite}")
        apt.update()
        check_offered(apt, group, wanted)
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        result = apt.run("apt-get", "download", *(f"{row[1]}={row[2]}" for row in wanted), cwd=into)
        for _, package, version, checksum in wanted:
            files = list(into.glob(f"{package}_*.deb"))
            if not files:
                raise LabError(f"cannot download {package} {version}: "
                               f"{last_error(result.stdout)}: try again")
            if sha256(files[0]) != checksum:
                raise LabError(f"{package} {version}: checksum differs from "
                               f"{LOCK.relative_to(HERE.parent)}: not used")
            files[0].rename(deb(package, version))
        into.rmdir()


def tree(group, say, finish=None, form=None):
    """The unpacked tree of a group, fetched when it is not there. finish(tree) runs once, after
    unpacking: a tree is complete only when it has returned. form: of what finish makes of it, when
    that may change; another form is another tree."""
    rows = locked(group)
    state = repr(rows if form is None else (rows, form))
    path = folder() / f"{group}-{hashlib.sha256(state.encode()).hexdigest()[:12]}"
    if (path / ".complete").exists():
        return path
    with held():
        if (path / ".complete").exists():
            return path
        missing = [row for row in rows if not deb(row[1], row[2]).exists()]
        if missing:
            download(group, missing, say)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        for _, package, version, checksum in rows:
            file = deb(package, version)
            if sha256(file) != checksum:
                file.unlink()
                raise LabError(f"{file}: damaged, removed: run again")
            result = run(["dpkg-deb", "-x", file, path])
            if result.returncode:
                raise LabError(f"cannot unpack {file}: {result.stdout.strip()}")
        if finish:
            finish(path)
        (path / ".complete").write_text("".join(" ".join(row) + "\n" for row in rows))
    return path


def relock(groups, say):
    """Writes the lock anew for the groups named (all if none), the other rows stay."""
    manifest = table(MANIFEST)
    known = list(dict.fromkeys(fields[0] for fields in manifest))
    for group in groups:
        if group not in known:
            raise LabError(f"no group {group} in {MANIFEST.name}: there are {', '.join(known)}")
    before = table(LOCK) if LOCK.exists() else []
    kept = [fields for fields in before if groups and fields[0] not in groups]
    fresh = []
    apts = {}
    with held():
        for group, suite, *patterns in manifest:
            if groups and group not in groups:
                continue
            if suite not in apts:
                apts[suite] = Apt(suite)
                apts[suite].update()
            names = [apts[suite].newest(pattern) for pattern in patterns]
            if None in names:
                raise LabError(f"{suite} has no package that matches {patterns[names.index(None)]}"
                               f": change it in {MANIFEST.relative_to(HERE.parent)}")
            offered = apts[suite].show(names)
            fresh += [[group, suite, name, *offered[name]] for name in names]
    for row in fresh:
        if row not in before:
            say(f"{row[0]}: {row[2]} {row[3]}")
    rows = sorted(kept + fresh, key=lambda fields: known.index(fields[0]))
    LOCK.write_text("# Written by lab/run --relock: group, suite, package, version, SHA-256.\n" +
                    "".join(" ".join(fields) + "\n" for fields in rows))
