#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The one instruction that the lab takes out of its emulator, on bytes made up here."""
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True # the source tree stays as it is
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
from cases import end, report # noqa: E402
import emulator # noqa: E402
from cache import LabError # noqa: E402

RACES = bytes.fromhex("81a0742c00007fffffff") # andl $0xffffff7f,0x2c74(%rax): QEMU 10.0.2's
NEAR = bytes.fromhex("81a0740000007fffffff") # the same bit of something small
OTHER = bytes.fromhex("81a0742c0000dfffffff") # another bit


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


before, after = b"\x90\n" + NEAR + OTHER, OTHER + b"\n\xc3"
report("emulator_instruction_that_races_is_taken_out",
       mended(before + RACES + after) == before + emulator.NOP + after)
report("emulator_without_the_instruction_is_refused", mended(before + after) is None)
report("emulator_with_two_that_could_be_it_is_refused", mended(RACES + before + RACES) is None)
report("emulator_mended_before_is_refused", mended(before + emulator.NOP) is None)
end()
