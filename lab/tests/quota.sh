# SPDX-License-Identifier: GPL-2.0-only
# A KVM guest that asks for everything, under a CPU quota of its cgroup, by v2 and by v1: it gets no more than
# that because it is boosted, and about what an ordinary process of the same quota gets.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 600
# soak: 300

percent=10 # less than a greedy guest gets beside two others, also on 6.1
seconds=4
[ "$PVSCHED_SOAK" = 1 ] && seconds=30

pvsched serve >/tmp/serve 2>&1 &
serve=$!
within broker_listens 200 pvsched list
is_served() {
	[ "$(vm_field enabled)" = 1 ]
}
# before there are hogs: beside them a guest may not be up in the time that the VMM gives it
taskset 2 pvsched run --workload greedy --seconds $((4 * seconds + 200)) >/tmp/run 2>&1 &
vmm=$!
within guest_is_served 60 is_served || sed 's/^/# /' /tmp/run
# groups are given to the VMM and the twin only, the hog stays outside
taskset 2 sh -c 'while :; do :; done' &
hog=$!
taskset 2 sh -c 'while :; do :; done' &
twin=$!
boosted() {
	pvsched list --json | grep -q '"boosts": [1-9]'
}
within guest_is_boosted 30 boosted
thread=
for task in /proc/$vmm/task/*; do
	[ "$(cat "$task/comm")" = vcpu0 ] && thread=${task##*/}
done

# ran PROCESS [THREAD]: ns
ran() {
	cut -d' ' -f1 "/proc/$1/task/${2:-$1}/schedstat"
}

# shares SECONDS: what vCPU and twin got of a CPU, in percent, in $got and $twin_got
shares() {
	from=$(ran $vmm $thread) twin_from=$(ran $twin) start=$(cut -d' ' -f1 /proc/uptime)
	sleep "$1"
	to=$(ran $vmm $thread) twin_to=$(ran $twin) end=$(cut -d' ' -f1 /proc/uptime)
	got=$(awk -v d=$((to - from)) -v s="$start" -v e="$end" 'BEGIN { print d / 1e7 / (e - s) }')
	twin_got=$(awk -v d=$((twin_to - twin_from)) -v s="$start" -v e="$end" 'BEGIN { print d / 1e7 / (e - s) }')
}

# judge NAME EXPRESSION: over q, the quota, a, what the vCPU got, and t, the twin
judge() {
	if awk -v a="$got" -v t="$twin_got" -v q=$percent "BEGIN { exit !($2) }"; then
		ok "$1"
	else
		not_ok "$1" "vCPU $got %, twin $twin_got %, quota $percent %: not $2"
	fi
}

# bound VERSION GROUP TWIN: both are put into their groups, which have their quotas
bound() {
	echo "$vmm" >"$2/cgroup.procs"
	echo "$twin" >"$3/cgroup.procs"
	sleep 0.2 # the period in which they moved is over
	before=$(vm_field boosts)
	shares "$seconds"
	after=$(vm_field boosts)
	figure "quota_$1_share_percent" "$got"
	figure "quota_$1_share_of_twin_percent" "$twin_got"
	# the kernel hands a quota out in slices of 5 ms, and a period may lie across the end
	judge "quota_$1_holds_for_a_boosted_guest" "a <= q + 3"
	judge "quota_$1_holds_for_its_twin" "t > 1 && t <= q + 3"
	judge "quota_$1_is_had_by_a_boosted_guest" "a > t / 2"
	if [ "$after" -gt "$before" ]; then
		ok "quota_$1_leaves_boosts_within_it"
	else
		not_ok "quota_$1_leaves_boosts_within_it" "$before boosts, then $after"
	fi
}

# free VERSION ROOT: back to where there is none
free() {
	echo "$vmm" >"$2/cgroup.procs"
	echo "$twin" >"$2/cgroup.procs"
	sleep 0.2
	shares "$seconds"
	figure "quota_$1_share_without_percent" "$got"
	judge "quota_$1_is_what_held_it" "a > q + 5"
}

figure quota_percent $percent
v2=/sys/fs/cgroup
echo +cpu >$v2/cgroup.subtree_control
for group in quota twin; do
	mkdir $v2/$group
	echo "$((percent * 1000)) 100000" >$v2/$group/cpu.max
done
bound v2 $v2/quota $v2/twin
free v2 $v2
rmdir $v2/quota $v2/twin
echo -cpu >$v2/cgroup.subtree_control

# The controller is v1's as soon as v2 has it no more.
v1=/tmp/v1
mkdir $v1
within v1_has_the_cpu_controller 30 mount -t cgroup -o cpu none $v1
for group in quota twin; do
	mkdir $v1/$group
	echo 100000 >$v1/$group/cpu.cfs_period_us
	echo $((percent * 1000)) >$v1/$group/cpu.cfs_quota_us
done
bound v1 $v1/quota $v1/twin
free v1 $v1
rmdir $v1/quota $v1/twin

kill $vmm $hog $twin
wait $vmm
kill $serve
wait $serve
umount $v1
