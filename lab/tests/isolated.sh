# SPDX-License-Identifier: GPL-2.0-only
# CPUs that their administrator has set apart, and cpusets: where agents run, what `pvsched check` says of it, and
# that vCPUs elsewhere are boosted from there, and have their own scheduling and CPUs back (docs/limits.md).
# kernels: 6.12
# guests: baremetal
# tier: short
# timeout: 400
# append: isolcpus=1 nohz_full=1

root=/sys/fs/cgroup
echo +cpuset >$root/cgroup.subtree_control
for group in first last; do
	mkdir $root/$group
done
echo 0 >$root/first/cpuset.cpus
echo 1 >$root/last/cpuset.cpus

# in_group GROUP COMMAND...: runs there, in place of this shell
in_group() {
	echo 0 >"$root/$1/cgroup.procs"
	shift
	exec "$@"
}

# says GROUP LINE: so `pvsched check` does there, once
says() {
	[ "$(grep -c "$2" "/tmp/check.$1")" = 1 ]
}

for group in "" last; do
	(in_group "$group" pvsched check --json) >"/tmp/check.$group" 2>&1
done
expect check_says_what_isolated_cpus_mean says "" \
	'"isolated CPUs", "state": "note", "text": "1: no agent runs there: .* boosted from another CPU, later'
expect check_says_what_nohz_full_cpus_mean says "" \
	'"nohz_full CPUs", "state": "note", "text": "1: no agent runs there, as on isolated ones'
expect check_says_what_a_cpuset_means says last \
	'"CPUs", "state": "limit", "text": "1 of 0-1 are allowed here .*: agents run on these only'

# agents: the CPUs of the broker's, one after the other
agents() {
	for task in /proc/$serve/task/*; do
		[ "$(cat "$task/comm" 2>/dev/null)" = pvsched-agent ] &&
			sed -n 's/^Cpus_allowed_list:[^0-9]*//p' "$task/status"
	done | sort | tr '\n' ' '
}

# serve GROUP NAME CPUS: a broker there has agents on these
serve() {
	(in_group "$1" pvsched serve) >/tmp/serve 2>&1 &
	serve=$!
	within "broker_of_$2_listens" 100 pvsched list
	expect "agents_of_$2_run_on_its_cpus_alone" test "$(agents)" = "$3 "
}

# serve_no_more: it ends
serve_no_more() {
	kill $serve
	wait $serve
}

# hog CPU
hog() {
	taskset $((1 << $1)) sh -c 'while :; do :; done' &
	hog=$!
}

# run GROUP: a guest that asks for everything, always
run() {
	(in_group "$1" pvsched run --workload greedy --seconds 300) >/tmp/run 2>&1 &
	vmm=$!
	# before there are hogs: beside them a guest may not be up in the time that the VMM gives it
	within "guest_of_${1:-all}_is_served" 60 is_served || sed 's/^/# /' /tmp/run
	vcpu_is_there
}

is_served() {
	[ "$(vm_field enabled)" = 1 ]
}

# vcpu_is_there: $vcpu is its thread
vcpu_is_there() {
	for task in /proc/$vmm/task/*; do
		[ "$(cat "$task/comm" 2>/dev/null)" = vcpu0 ] && vcpu=$task
	done
}

# policy_is POLICY, has CPU: the vCPU's thread just now; looked at from the other CPU than $cpu, where it runs: on
# its own nobody ordinary sees it boosted
policy_is() {
	[ "$(taskset $((2 >> cpu)) sed 's/.*) //' "$vcpu/stat" | cut -d' ' -f39)" = "$1" ]
}
has() {
	grep -q "^Cpus_allowed_list:[^0-9]*$1\$" "$vcpu/status"
}

# boosted_on NAME CPU: it is, again and again, and stays there
boosted_on() {
	cpu=$2
	before=$(vm_field boosts)
	within "vcpu_$1_is_boosted" 60 policy_is 1
	within "vcpu_$1_is_boosted_again" 60 boosts_beyond $((before + 20))
	expect "vcpu_$1_keeps_its_cpus" has "$2"
}

boosts_beyond() {
	[ "$(vm_field boosts)" -gt "$1" ]
}

# ended NAME CPU: by an operator; nothing of it is left
ended() {
	cpu=$2
	expect "vcpu_$1_policy_is_off" pvsched policy --all off
	within "vcpu_$1_is_restored" 10 policy_is 0
	seen=0
	for i in $(seq 50); do
		policy_is 0 && seen=$((seen + 1))
		usleep 10000
	done
	expect "vcpu_$1_stays_restored" test $seen = 50
	expect "vcpu_$1_has_its_nice" sh -c "[ \"\$(sed 's/.*) //' $vcpu/stat | cut -d' ' -f17)\" = 0 ]"
	expect "vcpu_$1_has_its_cpus" has "$2"
	expect "vcpu_$1_policy_is_on" pvsched policy --all latency
}

# What is isolated has no agent, and a vCPU in a cpuset there is boosted from the other CPU.
serve "" an_isolated_host 0
run last
hog 1
boosted_on of_an_isolated_cpu 1
ended of_an_isolated_cpu 1
# its cpuset is another one, live
kill $hog
wait $hog
hog 0
echo 0 >$root/last/cpuset.cpus
boosted_on whose_cpuset_has_moved 0
ended whose_cpuset_has_moved 0
kill $vmm
wait $vmm
serve_no_more

# A broker in a cpuset that has isolated CPUs alone: there, then; and the vCPU is elsewhere.
echo 1 >$root/last/cpuset.cpus
kill $hog
wait $hog
serve last a_cpuset 1
run first
hog 0
boosted_on outside_the_brokers_cpuset 0
ended outside_the_brokers_cpuset 0
kill $vmm $hog
wait $vmm $hog
serve_no_more
rmdir $root/first $root/last
