# SPDX-License-Identifier: GPL-2.0-only
# `make bench` of a machine without /dev/kvm: every cell, five rounds, with a bare-metal guest under
# SVM KVM. Time is counted in instructions, so that an emulated machine's pace is not in the figures.
# kernels: 7.3
# guests: baremetal
# tier: soak
# clock: instructions
# timeout: 7200

expect bench_runs pvsched bench --seed "$LAB_SEED" --html "$LAB_OUT/bench.html" \
	--json "$LAB_OUT/bench.json"
cp /tmp/expect "$LAB_OUT/bench.txt"
cells "$LAB_OUT/bench.json"
