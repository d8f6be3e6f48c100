# SPDX-License-Identifier: GPL-2.0-only
# The bench's cells on a clock that counts instructions: every workload, every variant, four hogs,
# and no hogs for the two variants that must not differ then. `make bench-lab`.
# kernels: 7.3
# guests: baremetal
# tier: soak
# clock: instructions
# record: 7.3
# timeout: 300

# bench NAME SAMPLES ARGUMENTS...: the yardsticks need fewer samples than what is held to a record
bench() {
	name=$1 samples=$2
	shift 2
	expect "bench_$name" pvsched bench --rounds 1 --samples "$samples" --seed "$LAB_SEED" \
		--no-cost --json "$LAB_OUT/$name.json" "$@"
	cells "$LAB_OUT/$name.json"
}
bench with_hogs 400 --hogs 4 --variant other,nice,fifo
bench with_hogs_and_pvsched 1600 --hogs 4 --variant pvsched
bench without_hogs 400 --hogs 0 --variant other,pvsched
