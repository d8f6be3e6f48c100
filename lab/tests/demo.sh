# SPDX-License-Identifier: GPL-2.0-only
# `make demo` of a machine without /dev/kvm: the demonstration's cells with a bare-metal guest under
# SVM KVM. Time is counted in instructions, so that an emulated machine's pace is not in the figures.
# kernels: 7.3
# guests: baremetal
# tier: soak
# clock: instructions
# timeout: 240

expect demo_runs pvsched bench --demo --rounds 1 --samples 500 --seed "$LAB_SEED" --no-cost \
	--html "$LAB_OUT/demo.html" --json "$LAB_OUT/demo.json"
cp /tmp/expect "$LAB_OUT/demo.txt"
cells "$LAB_OUT/demo.json"
