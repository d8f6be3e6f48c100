# SPDX-License-Identifier: GPL-2.0-only
# The bench's cells on a clock that counts instructions: every workload, every variant, four hogs,
# and no hogs for the two variants that must not differ then. For lab/run --deterministic.
# kernels: 7.3
# guests: baremetal
# tier: soak
# clock: instructions
# timeout: 240

expect bench_with_hogs_runs pvsched bench --rounds 1 --samples 400 --hogs 4 --seed "$LAB_SEED" \
	--no-cost --json "$LAB_OUT/hogs.json"
expect bench_without_hogs_runs pvsched bench --rounds 1 --samples 400 --hogs 0 --seed "$LAB_SEED" \
	--variant other,pvsched --no-cost --json "$LAB_OUT/alone.json"
cells "$LAB_OUT/hogs.json"
cells "$LAB_OUT/alone.json"
