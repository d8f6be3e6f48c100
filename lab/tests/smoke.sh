# SPDX-License-Identifier: GPL-2.0-only
# The whole, briefly: what pvsched finds here, and a bare-metal guest whose vCPU is boosted beside
# two hogs. Times are not judged: the wall clock of an emulated machine is its neighbours' noise
# (boost.sh judges, on a clock that counts instructions).
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: short
# ci: 6.1 6.12 7.3
# timeout: 300
# programs: bpftool

expect check_succeeds pvsched check
pvsched check --json >"$LAB_OUT/check.json"
pvsched check >"$LAB_OUT/check.txt"
for line in 'ok .*hardware .*SVM' 'ok .*PREEMPTED' 'ok .*INTR_PENDING .*fentry' 'ok .*NEXT_EVENT' \
	'ok .*VMEXIT' 'ok .*VMENTRY' 'ok .*HALT' 'ok .*INTR_INJECT' 'ok .*agent'; do
	name=$(echo "$line" | sed 's/ok //; s/[.*]//g; s/ .*//' | tr 'A-Z' 'a-z')
	expect "check_finds_$name" grep -q "$line" "$LAB_OUT/check.txt"
done

# A critical section is short and seldom preempted: about one in 50 with two hogs, and 200 of them had
# none on a slow machine; 1,500 beside four hogs have many.
bench() {
	expect "bench_of_$1_runs" pvsched bench --quick --workload "$1" --variant other,pvsched \
		--hogs "$2" --samples "$3" --no-cost --json "$LAB_OUT/$1.json"
	cells "$LAB_OUT/$1.json" >>/tmp/cells
}
bench busy 2 200
bench critical 4 1500
cat /tmp/cells
for workload in busy critical; do
	expect "${workload}_vcpu_is_boosted" grep -q "${workload}_pvsched_[24]_boosts [1-9]" /tmp/cells
	expect "${workload}_vcpu_without_pvsched_is_not" \
		grep -q "${workload}_other_[24]_boosts 0" /tmp/cells
done
expect no_program_is_left sh -c '! bpftool prog show | grep pvsched_'
