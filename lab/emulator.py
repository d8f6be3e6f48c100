# SPDX-License-Identifier: GPL-2.0-only
"""QEMU as Debian built it, but for two instructions of its SVM.

The race. To restore its x87 state, which every task switch may do, an emulated CPU clears IGNNE, a pin
of MS-DOS's days, in CPU 0's `hflags2`: from its own thread, by an AND that nothing makes atomic. CPU 0
keeps there whether its pages are nested, and GIF; when a change of its own is lost it runs the host
by the guest's rules: one of 40,000 to 900,000 exits beside a busy CPU 1. Nothing in the lab sets
the pin, so the AND is left out. With one thread for all CPUs (DETERMINISTIC in machine.py) there is
no race.

The leftover. An event that a guest has taken stays in the VMCB, only no longer valid, and the next exit
copies it to `exit_int_info`. KVM since Linux 6.14 looks there at the event's type alone: an access to
a device after an exception seems to have been made while that was delivered, and the guest is
ended ("internal error 3"). Now nothing stays, as on a CPU.

docs/lab.md tells what both looked like.
"""
import re

from cache import LabError

MENDS = (
    # cpu_clear_ignne(): andl $~HF2_IGNNE_MASK, hflags2 of struct X86CPU(%reg) -> a NOP as long (Intel SDM,
    # recommended forms). No other AND of this mask is so far into a structure.
    ("races", re.compile(rb"\x81[\xa0-\xa3\xa5-\xa7].[\x10-\xff]\x00\x00\x7f\xff\xff\xff", re.DOTALL),
     bytes.fromhex("662e0f1f840000000000")),
    # do_interrupt_all(), its end: andl $~SVM_EVTINJ_VALID, %edx -> xorl %edx, %edx and a NOP. What follows is
    # the address that it is stored to, event_inj of the VMCB.
    ("leaves an event", re.compile(rb"\x81\xe2\xff\xff\xff\x7f(?=.{0,16}\x48\x8d\xb0\xa8\x00\x00\x00)",
                                   re.DOTALL), bytes.fromhex("31d20f1f4000")),
)

VERSION = 2 # of what mend() does: the cache unpacks anew for another


def mend(program):
    """Changes the instructions in the program, a path; refused, and as it was, if one is not there once."""
    image = program.read_bytes()
    places = []
    for what, pattern, new in MENDS:
        found = [match.start() for match in pattern.finditer(image)]
        if len(found) != 1:
            raise LabError(f"{program}: {len(found)} instructions could be the one that {what}, not 1: "
                           "teach lab/emulator.py this build, or name an older one in lab/packages")
        places.append((found[0], new))
    with open(program, "r+b") as file:
        for at, new in places:
            file.seek(at)
            file.write(new)
