# SPDX-License-Identifier: GPL-2.0-only
# A KVM guest that asks for everything, under a CPU quota of its cgroup: it gets no more than that.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 260
# soak: 200

percent=20
seconds=4
[ "$PVSCHED_SOAK" = 1 ] && seconds=30
group=/sys/fs/cgroup/quota
echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
mkdir $group
echo "$((percent * 1000)) 100000" >$group/cpu.max

pvsched serve >/tmp/serve 2>&1 &
serve=$!
within broker_listens 200 pvsched list
taskset 2 sh -c 'while :; do :; done' &
hog=$!
# the group is given to the VMM only, the hog stays outside
taskset 2 pvsched run --workload greedy --seconds $((seconds + 30)) >/tmp/run 2>&1 &
vmm=$!
boosted() {
	pvsched list --json | grep -q '"boosts": [1-9]'
}
within guest_is_boosted 30 boosted
thread=
for task in /proc/$vmm/task/*; do
	[ "$(cat "$task/comm")" = vcpu0 ] && thread=${task##*/}
done

# ran: ns that the vCPU's thread ran
ran() {
	cut -d' ' -f1 "/proc/$vmm/task/$thread/schedstat"
}

# share SECONDS: of a CPU that it got, in percent
share() {
	share_from=$(ran) share_start=$(cut -d' ' -f1 /proc/uptime)
	sleep "$1"
	awk -v a="$share_from" -v b="$(ran)" -v s="$share_start" \
		-v e="$(cut -d' ' -f1 /proc/uptime)" 'BEGIN { print (b - a) / 1e7 / (e - s) }'
}

free=$(share "$seconds")
echo "$vmm" >$group/cgroup.procs
sleep 0.2 # the period in which it moved is over
before=$(vm_field boosts)
bound=$(share "$seconds")
after=$(vm_field boosts)
figure quota_percent $percent
figure quota_share_without_percent "$free"
figure quota_share_percent "$bound"
# the kernel hands a quota out in slices of 5 ms, and a period may lie across the end
if awk -v a="$bound" -v q=$percent 'BEGIN { exit !(a <= q + 3) }'; then
	ok quota_holds_for_a_boosted_guest
else
	not_ok quota_holds_for_a_boosted_guest "$bound % of a CPU"
fi
if awk -v a="$free" -v q=$percent 'BEGIN { exit !(a > q + 5) }'; then
	ok quota_is_what_held_it
else
	not_ok quota_is_what_held_it "$free % without"
fi
if [ "$after" -gt "$before" ]; then
	ok quota_leaves_boosts_within_it
else
	not_ok quota_leaves_boosts_within_it "$before boosts, then $after"
fi
kill $vmm $hog
wait $vmm
kill $serve
wait $serve
rmdir $group
