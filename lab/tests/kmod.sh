# SPDX-License-Identifier: GPL-2.0-only
# The actuator kmod: without its module one line says what to do; with it a bare-metal guest beside
# hogs is boosted through it, its threads are restored however the broker ends, and it can be removed.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 300
# module: pvsched
# programs: bpftool

pvsched check >"$LAB_OUT/check-without.txt"
expect check_says_what_to_install grep -q 'kmod  *not here: the module pvsched is not loaded' "$LAB_OUT/check-without.txt"
if pvsched serve --actuator kmod >/tmp/out 2>&1; then
	not_ok kmod_without_its_module_is_refused_in_one_line "it started"
else
	expect kmod_without_its_module_is_refused_in_one_line \
		grep -q 'not loaded: .*modprobe pvsched: or use --actuator agent' /tmp/out
fi

expect module_loads insmod /lab/pvsched.ko
pvsched check >"$LAB_OUT/check.txt"
expect check_finds_it grep -q 'ok .*kmod ' "$LAB_OUT/check.txt"
expect it_is_chosen_where_it_is_loaded grep -q 'chosen .*kmod,' "$LAB_OUT/check.txt"

native_programs kmod

# threads_are_bound: each CPU's thread is on its CPU alone
threads_are_bound() {
	for bound_cpu in "$@"; do
		bound_pid=$(grep -lx "pvsched/$bound_cpu" /proc/[0-9]*/comm | cut -d/ -f3)
		[ -n "$bound_pid" ] || { echo "no pvsched/$bound_cpu" && return 1; }
		grep "^Cpus_allowed_list:	$bound_cpu\$" "/proc/$bound_pid/status" || {
			grep Cpus_allowed_list "/proc/$bound_pid/status"
			return 1
		}
	done
}
cpu1=/sys/devices/system/cpu/cpu1/online
expect each_cpu_has_its_thread threads_are_bound 0 1
# 6.12 divides by zero (inactive_task_timer) where a CPU goes within a second of its fair server's last turn, and
# the tests had real-time work
sleep 3
echo 0 >$cpu1
LAB_LIMIT=100 native_programs kmod
echo 1 >$cpu1
expect a_cpu_that_comes_back_has_its_thread threads_are_bound 0 1
within module_goes 10 rmmod pvsched
echo 0 >$cpu1
expect module_loads_while_a_cpu_is_off insmod /lab/pvsched.ko
echo 1 >$cpu1
expect a_cpu_that_comes_has_a_thread threads_are_bound 0 1

vcpus_are_boosted --variant pvsched --actuator kmod
expect no_program_is_left sh -c '! bpftool prog show | grep pvsched_'
exec 9<>/dev/pvsched-kmod
if rmmod pvsched 2>/tmp/out; then
	not_ok module_whose_device_is_open_stays "it was removed"
else
	ok module_whose_device_is_open_stays
fi
exec 9>&-
within module_is_removed 10 rmmod pvsched
expect no_thread_of_it_is_left sh -c '! ps | grep "[p]vsched/"'
