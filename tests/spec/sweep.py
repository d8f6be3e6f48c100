#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Whatever broker and library ask the system for, the failure sweep can let fail: each function that their
objects import is one that tests/helpers/fail.h stands before, or is listed here with the reason.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("PVSCHED_BUILD", ROOT / "build"))
SWEPT = ["broker", "actuator", "events", "lib", "privilege"]
OTHERS = ["core", "json", "policy", "transport"]  # whose functions are no imports

# Of functions that can fail, why none of these does here.
EXCEPTIONS = {
    "clock_gettime": "the monotonic clock is there",
    "close": "the descriptor is gone whatever it returns",
    "closedir": "as close",
    "eventfd_write": "the counter is far from its end",
    "getrlimit64": "of a limit that there is",
    "ini_parse_string": "allocates by malloc, which is swept",
    "munmap": "of a whole mapping, which takes no memory",
    "pthread_attr_init": "allocates nothing",
    "pthread_attr_setinheritsched": "of a constant",
    "pthread_attr_setschedparam": "of a valid priority",
    "pthread_attr_setschedpolicy": "of a constant",
    "pthread_attr_setstacksize": "of a constant",
    "pthread_cancel": "of a thread that was not joined",
    "pthread_detach": "as pthread_cancel",
    "pthread_join": "as pthread_cancel",
    "pthread_mutex_consistent": "of a mutex that is just held",
    "pthread_mutex_init": "of kinds that glibc has",
    "pthread_mutex_lock": "of a mutex of the plain kind",
    "pthread_mutex_unlock": "of a mutex that is held",
    "pthread_mutexattr_init": "allocates nothing",
    "pthread_mutexattr_setprotocol": "of a constant",
    "pthread_mutexattr_setpshared": "of a constant",
    "pthread_mutexattr_setrobust": "of a constant",
    "pthread_sigmask": "of a constant",
    "sched_getcpu": "the kernel is newer than 2.6.19",
    "sem_init": "of a value in range",
    "sem_post": "of a value that is 0 before",
    "sigprocmask": "of a constant",
    "vfprintf": "to stderr, whose end nobody is told of",
}
# They neither ask the system nor allocate, or cannot fail.
HARMLESS = """
    _exit __divti3 __udivti3 __errno_location __isoc99_sscanf __sched_cpucount dirname ferror fnmatch free getenv
    geteuid getpid memchr memcmp memcpy memmove memset program_invocation_short_name pthread_attr_destroy
    pthread_mutex_destroy pthread_mutexattr_destroy pthread_self secure_getenv sem_destroy sigaddset sigemptyset
    sigfillset snprintf stderr strchr strchrnul strcmp strcpy strcspn strerror strlen strncmp strncpy strnlen
    strrchr strspn strstr strtok_r strtol strtoul strtoull vsnprintf _GLOBAL_OFFSET_TABLE_
""".split()
# libbpf's own calls come through the same functions; what a compiler adds is none of ours.
FOREIGN = re.compile(r"(lib)?bpf_|btf_|ring_buffer__|__(gcov|asan|ubsan|tsan|stack_chk)_")


def symbols(objects, *flags):
    """{name: the first object that has it}"""
    found = {}
    for file in objects:
        text = subprocess.run(["nm", *flags, file], check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            found.setdefault(line.split()[-1], file.name)
    return found


def objects(parts):
    return sorted(file for part in parts for file in (BUILD / "src" / part).rglob("*.c.o"))


def report(name, problems):
    print(f"not ok {name}: {'; '.join(problems)}" if problems else f"ok {name}", flush=True)
    return bool(problems)


def main():
    swept = objects(SWEPT)
    imported = symbols(swept, "-u")
    own = symbols(swept + objects(OTHERS), "--defined-only", "-g")
    text = (ROOT / "tests/helpers/fail.h").read_text()
    wrapped = set(re.findall(r"^FAIL_(?:INT|SIZE|CALL|KIND|ERROR)\((\w+),", text, re.M))
    wrapped |= set(re.findall(r"^void \*(\w+)\([^;]*\)\n\{\n(?:\t.*;\n)*\n?\tif \(fail_now", text, re.M))
    missing = [f"{name} of {file}" for name, file in sorted(imported.items())
               if name not in own and name not in wrapped and name not in EXCEPTIONS
               and name not in HARMLESS and not FOREIGN.match(name)]
    if not swept:
        missing = [f"no objects in {BUILD}"]
    failed = report("sweep_stands_before_every_call_that_can_fail", missing)
    listed = set(EXCEPTIONS) | set(HARMLESS)
    failed |= report("sweep_exceptions_are_calls_that_are_made_and_not_swept",
                     sorted(listed - set(imported)) + sorted(listed & wrapped))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
