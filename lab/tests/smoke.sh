# SPDX-License-Identifier: GPL-2.0-only
# The whole, briefly: what pvsched finds here, and a bare-metal guest whose vCPU is boosted beside
# two hogs. Times are not judged: the wall clock of an emulated machine is its neighbours' noise
# (boost.sh judges, on a clock that counts instructions).
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: short
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

vcpus_are_boosted --variant other,pvsched
for workload in busy critical; do
	expect "${workload}_vcpu_without_pvsched_is_not" \
		grep -q "${workload}_other_[24]_boosts 0" /tmp/cells
done
expect no_program_is_left sh -c '! bpftool prog show | grep pvsched_'
