# SPDX-License-Identifier: GPL-2.0-only
"""QEMU as Debian built it, less one instruction.

To restore its x87 state, which every task switch may do, an emulated CPU clears IGNNE, a pin of
MS-DOS's days, in CPU 0's `hflags2`: from its own thread, by an AND that nothing makes atomic. CPU 0
keeps there whether its pages are nested, and GIF; when a change of its own is lost it runs the host
by the guest's rules: one of 40,000 to 900,000 exits beside a busy CPU 1. Nothing in the lab sets
the pin, so the AND is left out. With one thread for all CPUs (DETERMINISTIC in machine.py) there is
no race. docs/lab.md tells what it looked like.
"""
import re

from cache import LabError

# cpu_clear_ignne(): andl $~HF2_IGNNE_MASK, hflags2 of struct X86CPU(%reg). No other AND of this mask
# is so far into a structure.
CLEAR_IGNNE = re.compile(rb"\x81[\xa0-\xa3\xa5-\xa7].[\x10-\xff]\x00\x00\x7f\xff\xff\xff", re.DOTALL)
NOP = bytes.fromhex("662e0f1f840000000000") # as long: Intel SDM, NOP, recommended forms

VERSION = 1 # of what mend() does: the cache unpacks anew for another


def mend(program):
    """Takes the instruction out of the program, a path."""
    image = program.read_bytes()
    found = [match.start() for match in CLEAR_IGNNE.finditer(image)]
    if len(found) != 1:
        raise LabError(f"{program}: {len(found)} instructions could be the one that races, not 1: "
                       "teach lab/emulator.py this build, or name an older one in lab/packages")
    with open(program, "r+b") as file:
        file.seek(found[0])
        file.write(NOP)
