#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# needs: /dev/kvm
"""pvsched run --kernel on a terminal, with a kernel of some bytes: it says K, echoes what is typed,
switches the machine off at q, resets it at r and triple-faults at t. What Linux itself does there is
the lab's."""
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

PVSCHED = os.path.join(os.environ.get("PVSCHED_BUILD", "build"), "src/cli/pvsched")
PATIENCE = 20
CODE = bytes.fromhex(
    "66baf803b04bee"                     # K to the serial port
    "66bafd03eca80174f7"                 # until it has received something
    "66baf803ecee"                       # echo
    "3c71740a" "3c727411" "3c747415" "ebe3" # q, r, t, again
    "66ba040666b8003466eff4"             # ACPI power-off
    "66baf90cb006eef4"                   # reset register
    "0f011d020000000f0b" + "00" * 10)    # an IDT of one byte, and an invalid instruction
DEAF = bytes.fromhex("66baf803b04bee" "faf4ebfd") # K, and it halts for good


def kernel(path, code):
    head = bytearray(4096)
    head[0x1f1] = 7
    struct.pack_into("<H", head, 0x1fe, 0xaa55)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20f)
    head[0x211] = 1                              # loaded high
    struct.pack_into("<I", head, 0x22c, 0x7fffffff)
    struct.pack_into("<H", head, 0x236, 1)       # has a 64-bit entry
    struct.pack_into("<I", head, 0x238, 255)     # command line
    struct.pack_into("<Q", head, 0x258, 1 << 20) # where to
    struct.pack_into("<I", head, 0x260, 1 << 20)
    with open(path, "wb") as file:
        file.write(head + bytes(0x200) + code)


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, path, *more, before=()):
        self.fd, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.child = subprocess.Popen(
            [*before, PVSCHED, "run", "--no-device", "--kernel", path, "--memory", "16M", *more],
            stdin=self.slave, stdout=self.slave, stderr=subprocess.PIPE)
        self.text = b""

    def until(self, words):
        end = time.monotonic() + PATIENCE
        while words not in self.text:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{words} never came: {self.text}")
            self.text += os.read(self.fd, 100)

    def type(self, keys):
        os.write(self.fd, keys)

    def end(self):
        said = self.child.communicate(timeout=PATIENCE)[1].decode()
        assert self.child.returncode == 0, said
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not restored"
        return said

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.fd)
        os.close(self.slave)


def run_console_echoes_all_keys_and_power_off_ends_it(path):
    terminal = Terminal(path)
    try:
        terminal.until(b"K")
        terminal.type(b"a\x03\x1c\x1ab\r\x01\x01\x01yz" + b"0123456789" * 8 + b"q")
        terminal.until(b"a\x03\x1c\x1ab\r\x01\x01yz" + b"0123456789" * 8 + b"q")
        assert "0 reboots" in terminal.end()
    finally:
        terminal.close()


def run_escape_ends_the_guest(path):
    terminal = Terminal(path)
    try:
        terminal.until(b"K")
        terminal.type(b"\x01x")
        terminal.end()
    finally:
        terminal.close()


def run_escape_ends_a_guest_that_does_not_read(path):
    for keys in (b"a", b"b"), (b"." * 40, b"a", b"b"):
        terminal = Terminal(path + ".deaf")
        try:
            terminal.until(b"K")
            for typed in keys:
                terminal.type(typed)
                time.sleep(0.2)
            terminal.type(b"\x01x")
            terminal.end()
        finally:
            terminal.close()


def run_signals_end_the_guest_and_restore_the_terminal(path):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # who runs the tests in the background may ignore it
        terminal = Terminal(path)
        try:
            terminal.until(b"K")
            terminal.child.send_signal(number)
            terminal.end()
        finally:
            terminal.close()


def run_hang_up_that_is_ignored_ends_nothing(path):
    terminal = Terminal(path, before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
    try:
        terminal.until(b"K")
        terminal.child.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert terminal.child.poll() is None
        terminal.type(b"q")
        terminal.end()
    finally:
        terminal.close()


def run_reset_begins_anew(path):
    terminal = Terminal(path, "--cpus", "3")
    try:
        terminal.until(b"K")
        for i in range(3):
            terminal.type(b"r")
            terminal.until(b"K" + b"rK" * (i + 1))
        terminal.type(b"q")
        assert "3 reboots" in terminal.end()
    finally:
        terminal.close()


def run_triple_fault_begins_anew(path):
    terminal = Terminal(path, "--cpus", "2")
    try:
        terminal.until(b"K")
        terminal.type(b"t")
        terminal.until(b"KtK")
        terminal.type(b"q")
        assert "1 reboots" in terminal.end()
    finally:
        terminal.close()


def run_triple_faults_without_end_are_an_error(path):
    terminal = Terminal(path)
    try:
        terminal.until(b"K")
        for i in range(3):
            terminal.type(b"t")
            terminal.until(b"K" + b"tK" * (i + 1))
        terminal.type(b"t")
        said = terminal.child.communicate(timeout=PATIENCE)[1].decode()
        assert terminal.child.returncode == 1 and "triple fault, again and again" in said, said
    finally:
        terminal.close()


def run_input_that_ends_leaves_the_guest_running(path):
    child = subprocess.run([PVSCHED, "run", "--no-device", "--kernel", path, "--memory", "16M",
                            "--seconds", "1"], input=b"end", capture_output=True, check=False,
                           timeout=PATIENCE)
    assert child.returncode == 0 and child.stdout == b"Kend", child


def refused(words, *arguments):
    child = subprocess.run([PVSCHED, "run", "--no-device", *arguments], text=True,
                           stdin=subprocess.DEVNULL, capture_output=True, check=False,
                           timeout=PATIENCE)
    assert child.returncode, child
    assert words in child.stderr and child.stderr.count("\n") == 1, child.stderr


def run_what_is_no_kernel_is_refused(path):
    refused("not a Linux kernel", "--kernel", PVSCHED)
    refused("not a file", "--kernel", "/tmp")
    refused("/none: No such file", "--kernel", "/none")
    with open(path + ".cut", "wb") as file, open(path, "rb") as whole:
        file.write(whole.read(4096))
    refused("cut short", "--kernel", path + ".cut")


def run_what_does_not_fit_is_refused(path):
    refused("initrd: /none: No such file", "--kernel", path, "--initrd", "/none")
    with open(path + ".large", "wb") as file:
        file.truncate(15 << 20)
    refused("kernel and initrd alone need 17 MiB", "--kernel", path, "--initrd", path + ".large",
            "--memory", "16M")
    refused("this kernel takes at most 255", "--kernel", path, "--append", "x" * 256)
    refused("out of range", "--kernel", path, "--cpus", "9")
    refused("it needs --kernel", "--initrd", path)
    refused("is for the bare-metal guest", "--kernel", path, "--image", path)


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "kernel")
        kernel(path, CODE)
        kernel(path + ".deaf", DEAF)
        for case in (run_console_echoes_all_keys_and_power_off_ends_it, run_escape_ends_the_guest,
                     run_escape_ends_a_guest_that_does_not_read,
                     run_signals_end_the_guest_and_restore_the_terminal,
                     run_hang_up_that_is_ignored_ends_nothing, run_reset_begins_anew, run_triple_fault_begins_anew,
                     run_triple_faults_without_end_are_an_error,
                     run_input_that_ends_leaves_the_guest_running,
                     run_what_is_no_kernel_is_refused, run_what_does_not_fit_is_refused):
            try:
                case(path)
                print(f"ok {case.__name__}", flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed = 1
                print(f"not ok {case.__name__}: {str(error)[:300]}", flush=True)
    return failed


sys.exit(main())
