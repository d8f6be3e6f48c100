# SPDX-License-Identifier: GPL-2.0-only
# What a test in L1 may use. A test is sourced after this file; it says
#	ok NAME; not_ok NAME WHY; figure NAME NUMBER; files put into $LAB_OUT come back.

LAB_FAILED=0

ok() {
	echo "ok $1"
}

not_ok() {
	LAB_FAILED=1
	echo "not ok $1: $2"
}

# figure NAME NUMBER: a measured value, kept in results.json
figure() {
	echo "figure $1 $2"
}

# native_programs NAME...: programs of the native tier, each in its own time (LAB_LIMIT seconds, times LAB_SCALE)
native_programs() {
	export CMOCKA_MESSAGE_OUTPUT=TAP
	for native_name in "$@"; do
		native_start=$(cut -d. -f1 /proc/uptime)
		timeout -k 2 $((${LAB_LIMIT:-100} * LAB_SCALE)) "$PVSCHED_BUILD/tests/native/$native_name" >"$LAB_OUT/$native_name.txt" 2>&1
		native_status=$?
		cat "$LAB_OUT/$native_name.txt"
		echo "# $native_name took $(($(cut -d. -f1 /proc/uptime) - native_start)) s"
		# Failed cases have said so, their number is the status; a crash and a time-out have not.
		if [ $native_status -ge 124 ] || ! grep -q '^ok' "$LAB_OUT/$native_name.txt"; then
			not_ok "${native_name}_ends_well" "exit status $native_status"
		fi
	done
}

# cells FILE: the cells of a bench's JSON as figures, WORKLOAD_VARIANT_HOGS_KEY
cells() {
	awk -F '[":, ]+' '
		/^      "workload"/ { cell = $3; next }
		/^      "variant"/ { cell = cell "_" $3; next }
		/^      "hogs"/ { cell = cell "_" $3; next }
		/^      "(p50_us|p99_us|p999_us|hogs_share|boosts|boosted_share|apply_p50_us|apply_p99_us|reach_p50_us|reach_p99_us|reach_added_switches)"/ &&
			$3 != "null" { print "figure", cell "_" $2, $3 }' "$1"
}

# short_bench WORKLOAD HOGS SAMPLES ARGUMENTS...: runs, and the vCPU is boosted; its cells go to /tmp/cells
short_bench() {
	bench_of=$1 bench_hogs=$2 bench_samples=$3
	shift 3
	expect "bench_of_${bench_of}_runs" pvsched bench --quick --workload $bench_of --hogs $bench_hogs \
		--samples $bench_samples --no-cost --json "$LAB_OUT/$bench_of.json" "$@"
	cells "$LAB_OUT/$bench_of.json" >>/tmp/cells
	expect "${bench_of}_vcpu_is_boosted" grep -q "${bench_of}_pvsched_[24]_boosts [1-9]" /tmp/cells
}

# vcpus_are_boosted ARGUMENTS...: two short benches with these. A critical section is short and seldom
# preempted: about one in 50 with two hogs, and 200 of them had none on a slow machine; 1,500 beside four
# hogs have many.
vcpus_are_boosted() {
	short_bench busy 2 200 "$@"
	short_bench critical 4 1500 "$@"
	cat /tmp/cells
}

# expect NAME COMMAND...: ok when it succeeds, else its last line of output says why
expect() {
	expect_name=$1
	shift
	if "$@" >/tmp/expect 2>&1; then
		ok "$expect_name"
	else
		expect_status=$?
		sed 's/^/# /' /tmp/expect
		not_ok "$expect_name" "$* exited with $expect_status: $(tail -n 1 /tmp/expect)"
	fi
}

# within NAME SECONDS COMMAND...: ok as soon as it succeeds, polled, bounded (times LAB_SCALE)
within() {
	within_name=$1
	within_end=$(($(cut -d. -f1 /proc/uptime) + $2 * LAB_SCALE))
	shift 2
	until "$@" >/tmp/within 2>&1; do
		if [ "$(cut -d. -f1 /proc/uptime)" -ge "$within_end" ]; then
			not_ok "$within_name" "never true: $*: $(tail -n 1 /tmp/within)"
			return 1
		fi
		usleep 100000
	done
	ok "$within_name"
}

# vm_field KEY: a number of the first VM that the broker lists
vm_field() {
	pvsched list --json | grep -o "\"$1\": [0-9]*" | head -n 1 | cut -d' ' -f2
}

# l2_linux TASK CONSOLE [QEMU ARGUMENTS]: boots the same kernel as a KVM guest with two vCPUs that
# runs the shell script TASK; returns when it has ended. For tests with `guests: linux`.
l2_linux() {
	l2_task=$1 l2_console=$2
	shift 2
	mkdir -p /tmp/l2
	cp "$l2_task" /tmp/l2/task
	(cat /l2/initramfs && cd /tmp/l2 && echo task | cpio -o -H newc) >/tmp/l2.cpio 2>/dev/null
	LD_LIBRARY_PATH=/l2/lib /l2/qemu -accel kvm -cpu host -smp 2 -m 192M -bios /l2/qboot.rom \
		-M microvm,x-option-roms=off,pit=off,pic=off,rtc=on,isa-serial=on \
		-nodefaults -no-user-config -no-reboot -display none \
		-serial "file:$l2_console" -kernel /l2/vmlinux -initrd /tmp/l2.cpio \
		-append "console=ttyS0 loglevel=5 mitigations=off nokaslr panic=-1" "$@"
}

# l2_q35 TASK [QEMU ARGUMENTS]: the same on a machine with PCI and ACPI, its console on stdin and stdout.
# For `machine: q35`.
l2_q35() {
	l2_task=$1
	shift
	mkdir -p /tmp/l2
	cp "$l2_task" /tmp/l2/task
	(cat /l2/initramfs && cd /tmp/l2 && echo task | cpio -o -H newc) >/tmp/l2.cpio 2>/dev/null
	LD_LIBRARY_PATH=/l2/lib exec /l2/qemu-q35 -L /l2/share -accel kvm -cpu host,-svm -smp 2 \
		-m 192M -M q35 -nodefaults -no-user-config -no-reboot -display none \
		-serial stdio -kernel /l2/vmlinux -initrd /tmp/l2.cpio \
		-append "console=ttyS0 loglevel=5 mitigations=off nokaslr panic=-1 $VMM_APPEND" "$@"
}

# qemu_start TASK CONSOLE [QEMU ARGUMENTS]: l2_q35 in the background; what is written to descriptor 3
# is typed on its console, what QEMU says is in /tmp/said; $vmm is its process. The task's end is the VM's.
qemu_start() {
	qemu_task=$1 vmm_console=$2
	shift 2
	: >"$vmm_console"
	rm -f /tmp/keys
	mkfifo /tmp/keys
	(l2_q35 "$qemu_task" "$@") </tmp/keys >"$vmm_console" 2>/tmp/said &
	vmm=$!
	exec 3>/tmp/keys
	trap "" PIPE # a VMM that has died is told of by vmm_ended
}

# vmm_start TASK CONSOLE [ARGUMENTS]: the same kernel in the reference VMM, in the background: the
# shell script TASK runs in it, beside what the test put into /tmp/l2; its console goes to the file CONSOLE, what is written to descriptor
# 3 is typed on it, what the VMM says is in /tmp/said; $vmm is its process. For `guests: linux`.
vmm_start() {
	vmm_task=$1 vmm_console=$2
	shift 2
	mkdir -p /tmp/l2
	cp "$vmm_task" /tmp/l2/task
	(cat /l2/initramfs && cd /tmp/l2 && find . -type f | cpio -o -H newc) >/tmp/l2.cpio 2>/dev/null
	: >"$vmm_console"
	rm -f /tmp/keys
	mkfifo /tmp/keys
	pvsched run --kernel /l2/bzImage --initrd /tmp/l2.cpio --memory 256M --append \
		"console=ttyS0 loglevel=5 mitigations=off nokaslr panic=-1 $VMM_APPEND" "$@" \
		</tmp/keys >"$vmm_console" 2>/tmp/said &
	vmm=$!
	exec 3>/tmp/keys
	trap "" PIPE # a VMM that has died is told of by vmm_ended
}

# vmm_ended NAME: ok when the VMM ends by itself, in time, with status 0
vmm_ended() {
	within "$1" 60 sh -c "! kill -0 $vmm 2>/dev/null" || kill "$vmm"
	wait "$vmm"
	vmm_status=$?
	exec 3>&-
	[ $vmm_status = 0 ] || not_ok "$1" "exit status $vmm_status: $(tail -n 1 /tmp/said)"
}

# count N PATTERN FILE: at least N lines
count() {
	[ "$(grep -c "$2" "$3")" -ge "$1" ]
}

# vmm_shows NAME SECONDS N PATTERN: within, for lines of the console; a VMM that has ended says why
vmm_shows() {
	within "$1" "$2" sh -c "[ \$(grep -c '$4' $vmm_console) -ge $3 ] || ! kill -0 $vmm" >/tmp/shows
	if count "$3" "$4" "$vmm_console" || grep -q '^not ok' /tmp/shows; then
		cat /tmp/shows
	else
		not_ok "$1" "the VMM ended: $(tail -n 1 /tmp/said)"
	fi
}
