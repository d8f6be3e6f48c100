# SPDX-License-Identifier: GPL-2.0-only
# The actuator kmod-policy: the module decides, and no BPF is loaded. A bare-metal guest beside hogs is
# boosted, within its budgets, with `off` not at all; whoever dies, threads are restored; the module is
# removed while a VM runs; refusals are one line.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 2400
# module: pvsched
# programs: bpftool

# refused WHAT PATTERN ARGUMENTS...: `serve` with these ends with one line, of this pattern
refused() {
	refused_what=$1 refused_pattern=$2
	shift 2
	if timeout 60 pvsched serve --actuator kmod-policy "$@" >/tmp/out 2>&1; then
		not_ok "$refused_what" "it started"
	else
		expect "$refused_what" grep -q "$refused_pattern" /tmp/out
		expect "${refused_what}_in_one_line" [ "$(wc -l </tmp/out)" = 1 ]
	fi
}

# serve ARGUMENTS...: in the background, until it listens; $broker is its process
serve() {
	rm -f /tmp/serve
	pvsched serve --actuator kmod-policy "$@" >/tmp/serve 2>&1 &
	broker=$!
	within broker_is_ready 60 grep -q ready /tmp/serve || cat /tmp/serve
}

# guest SECONDS: a bare-metal guest that always asks for everything beside two hogs, in the background
guest() {
	pvsched run --workload greedy --hogs 2 --seconds "$1" --json >/tmp/guest.json 2>/tmp/guest.err &
	vmm=$!
}

boosts_are_above() {
	[ "$(vm_field boosts)" -gt "$1" ]
}

# tids of the VMM that are real-time: boosted
boosted_threads() {
	for boosted_task in /proc/"$vmm"/task/*; do
		[ "$(cut -d')' -f2 "$boosted_task/stat" | cut -d' ' -f40)" = 1 ] && echo "${boosted_task##*/}"
	done
}

is_boosted_now() {
	[ -n "$(boosted_threads)" ]
}

is_restored() {
	[ -z "$(boosted_threads)" ]
}

# never_boosted N: in none of N looks. Beside a broker the guest is boosted in more than one of four.
never_boosted() {
	for never_i in $(seq "$1"); do
		is_restored || { echo "boosted at look $never_i" && return 1; }
		usleep 50000
	done
}

refused refused_without_the_module 'not loaded: .*modprobe pvsched: or use --actuator agent'
expect module_loads insmod /lab/pvsched.ko
pvsched check >"$LAB_OUT/check.txt"
expect check_finds_it grep -q 'ok .*kmod-policy ' "$LAB_OUT/check.txt"
expect it_is_not_chosen_by_itself grep -q 'chosen  *\(agent\|kmod\),' "$LAB_OUT/check.txt"
native_programs kmod_policy
touch /tmp/mine.bpf.o
refused a_policy_file_is_refused 'takes no files: those are BPF' --policy /tmp/mine.bpf.o
refused finding_vms_is_refused 'use --found-policy none' --found-policy irq

# a guest is boosted without a program
bpftool prog show >/tmp/before
serve
guest 600
within guest_is_boosted 60 boosts_are_above 100
bpftool prog show >/tmp/programs
expect no_program_of_ours_is_loaded sh -c '! grep pvsched_ /tmp/programs'
expect no_program_at_all_was_loaded cmp /tmp/before /tmp/programs
expect no_map_of_ours_is_made sh -c '! bpftool map show | grep -E "pvsched|vcpus|debts"'
pvsched list --json >"$LAB_OUT/list.json"
pvsched stat --json >"$LAB_OUT/stat.json" 2>&1
refused second_broker_is_refused 'a broker runs on this host already'

# a budget bounds it, at once
expect budget_is_set pvsched budget --rate 20 host
sleep 2 # what it had in hand at once
from=$(cut -d. -f1 /proc/uptime)
was=$(vm_field boosts)
sleep 5
now=$(vm_field boosts)
seconds=$(($(cut -d. -f1 /proc/uptime) + 1 - from)) # no less than it was
figure boosts_at_rate_20 $((now - was))
expect rate_bounds_it [ $((now - was)) -le $((20 * seconds + 2)) ]
expect some_are_left [ $((now - was)) -gt 0 ]
expect budget_is_taken_back pvsched budget --rate default host

# off does not boost
expect policy_is_off pvsched policy off --all
sleep 1
was=$(vm_field boosts)
sleep 3
expect off_does_not_boost [ "$(vm_field boosts)" = "$was" ]
expect policy_is_latency pvsched policy latency --all
within latency_boosts_again 60 boosts_are_above "$((was + 20))"

# killed in mid-boost: the device closes, and the thread is as it was
within thread_is_boosted 30 is_boosted_now
kill -9 $broker
wait $broker 2>/dev/null
within thread_is_restored 5 is_restored
expect thread_stays_as_it_was never_boosted 40
expect vm_goes_on kill -0 $vmm
within module_is_removed_while_a_vm_runs 10 rmmod pvsched
expect vm_goes_on_without_it kill -0 $vmm
expect module_loads_again insmod /lab/pvsched.ko
kill $vmm
wait $vmm 2>/dev/null
serve
kill -9 $broker
wait $broker 2>/dev/null
serve
kill $broker
expect broker_after_a_killed_one_ends_well wait $broker

# what the native tier holds of boosts, budgets and owners, whoever decides; its vCPUs are threads
export PVSCHED_TEST_ACTUATOR=kmod-policy
LAB_LIMIT=600
native_programs broker_boost host_boosts host_owner broker_death
unset PVSCHED_TEST_ACTUATOR

# what it brings, beside who does it otherwise
vcpus_are_boosted --variant pvsched --actuator kmod-policy
within module_is_removed 10 rmmod pvsched
expect no_thread_of_it_is_left sh -c '! ps | grep "[[]pvsched/"'
