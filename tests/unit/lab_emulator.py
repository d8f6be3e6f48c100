#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The instructions that the lab changes in its emulator, on bytes made up here."""
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True # the source tree stays as it is
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from cases import end, report # noqa: E402
import emulator # noqa: E402
from cache import LabError # noqa: E402

RACES = bytes.fromhex("81a0742c00007fffffff") # andl $0xffffff7f,0x2c74(%rax): QEMU 10.0.2's
ADDRESS = bytes.fromhex("5b5d488db0a8000000") # pop, pop, lea 0xa8(%rax),%rsi
LEAVES = bytes.fromhex("81e2ffffff7f") # andl $0x7fffffff,%edx
NEAR = bytes.fromhex("81a0740000007fffffff") # the same bit of something small
OTHER = bytes.fromhex("81a0742c0000dfffffff") # another bit
SIGN = LEAVES + bytes.fromhex("5b5d488db0a0000000") # of what is stored elsewhere


def mended(image):
    """The program afterwards; None when it was refused and is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder, "qemu")
        program.write_bytes(image)
        try:
            emulator.mend(program)
        except LabError as error:
            assert str(program) in str(error) and program.read_bytes() == image
            return None
        return program.read_bytes()


before, after = b"\x90\n" + NEAR + OTHER + SIGN, SIGN + OTHER + b"\n\xc3"
nop, xor = (new for _, _, new in emulator.MENDS)
report("emulator_instructions_are_changed_where_they_are",
       mended(before + RACES + after + LEAVES + ADDRESS) == before + nop + after + xor + ADDRESS)
report("emulator_keeps_its_length", len(nop) == len(RACES) and len(xor) == len(LEAVES))
report("emulator_without_the_race_is_refused", mended(before + LEAVES + ADDRESS + after) is None)
report("emulator_without_the_leftover_is_refused", mended(before + RACES + after) is None)
report("emulator_with_two_that_could_be_it_is_refused",
       mended(RACES + before + LEAVES + ADDRESS + RACES) is None)
report("emulator_mended_before_is_refused", mended(before + nop + after + xor + ADDRESS) is None)
end()
