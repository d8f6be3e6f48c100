# SPDX-License-Identifier: GPL-2.0-only
# VMs of stock QEMU with a monitor, beside a daemon; what pvsched list says of them. For tests with
# `machine: q35` that source it after lib.sh.

# vm NAME OPTION...: starts one that runs /tmp/task, with $VM_OPTIONS, its monitor at /tmp/NAME.in
vm() {
	vm_name=$1
	shift
	mkfifo "/tmp/$vm_name.in" "/tmp/$vm_name.out"
	cat "/tmp/$vm_name.out" >"/tmp/$vm_name.said" &
	# shellcheck disable=SC2086
	l2_q35 /tmp/task $VM_OPTIONS -action reboot=reset \
		-name "guest=$vm_name,debug-threads=on" -monitor "pipe:/tmp/$vm_name" "$@" \
		</dev/null >"$LAB_OUT/console-$vm_name.log" 2>&1 &
	eval "pid_$vm_name=$!"
}
# monitor NAME COMMAND
monitor() {
	echo "$2" >"/tmp/$1.in"
}
# value NAME KEY: what pvsched list says of the VM
value() {
	pvsched list --json | tr -d '\n' | sed 's/"vm":/\n"vm":/g' | grep "\"name\": \"$1\"" |
		sed "s/\"vcpu\": *\[.*//;s/.*\"$2\": *\([^,]*\),.*/\1/"
}
# listed NAME VCPUS
listed() {
	[ "$(value "$1" vcpus)" = "$2" ]
}
unlisted() {
	! pvsched list --json | grep -q "\"name\": \"$1\""
}
more_than() {
	boosts=$(value "$1" boosts)
	[ "${boosts:-0}" -gt "$2" ]
}
# goes_on CASE NAME: its vCPUs are boosted again, from now on
goes_on() {
	before=$(value "$2" boosts)
	within "$1" 60 more_than "$2" "${before:-0}"
}
# vcpus NAME: its vCPUs' threads
vcpus() {
	for task in /proc/"$(eval echo "\$pid_$1")"/task/*; do
		grep -q '^CPU' "$task/comm" && echo "${task##*/}"
	done
}
ordinary() {
	for tid in $(vcpus "$1"); do
		chrt -p "$tid" | grep -q SCHED_OTHER || return 1
	done
}
# quiet CASE NAME: no boost from now on
quiet() {
	within "${1}_is_ordinary" 20 ordinary "$2"
	usleep 200000
	before=$(value "$2" boosts)
	usleep 500000
	expect "${1}_gets_no_boost" test "$(value "$2" boosts)" = "$before"
}
serve() {
	pvsched serve >/tmp/ready 2>>/tmp/said &
	serve=$!
	within "$1" 150 grep -q ready /tmp/ready
}
