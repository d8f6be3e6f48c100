# SPDX-License-Identifier: GPL-2.0-only
# pvsched-guest killed (SIGKILL) at its system calls: while it loads and pins, in mid-handshake, after
# it, while it takes its pins away. Each time: no page of the host's was given to anybody, and the
# next daemon takes over. strace kills: as the daemon enters its Nth call of that name.
# kernels: 6.12 7.3
# guests: linux
# tier: long
# timeout: 400
# inner: strace

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
pins() { ls /sys/fs/bpf/pvsched 2>/dev/null | grep -vc declared; }
start() {
	: >/tmp/calls
	"$@" >/tmp/out 2>&1 &
	daemon=$!
	for i in $(seq 300); do
		grep -q 'share a page\|pvsched-guest:' /tmp/out && break
		grep -q 'killed by' /tmp/calls && break
		usleep 100000
	done
}
stty -echo </dev/console
echo "task waits"
while read -r what call n; do
	case $what in
	calls) # how many of each a start makes
		start strace -o /tmp/calls -e trace=bpf,pread64,write pvsched-guest run
		echo "calls: bpf $(grep -c '^bpf' /tmp/calls) pread64 $(grep -c '^pread64' /tmp/calls)" \
			"write $(grep -c '^write' /tmp/calls)"
		kill $(pidof pvsched-guest); wait $daemon
		echo "ended, pins $(pins)"
		;;
	killed)
		start strace -o /tmp/calls -e trace=$call -e inject=$call:signal=KILL:when=$n \
			pvsched-guest run
		# the call may come with the signal to end only
		kill $(pidof pvsched-guest) 2>/dev/null
		wait $daemon
		echo "killed in $call $n: $(tail -n 1 /tmp/calls | grep -c 'killed by SIGKILL') pins $(pins)"
		;;
	memory) # what the host might still write to would be found in freed memory
		dd if=/dev/zero of=/tmp/fill bs=1M count=8 2>/dev/null
		usleep 300000
		echo "memory: $(tr -d '\000' </tmp/fill | wc -c)"
		rm /tmp/fill
		;;
	start) start pvsched-guest run; echo "start: $(tail -n 1 /tmp/out)" ;;
	stop) kill $daemon; wait $daemon; echo "stopped $?, pins $(pins)" ;;
	off) poweroff -f ;;
	esac
done </dev/console
END

enabled() {
	pvsched list --json | grep -q "\"enabled\": $1\$\|\"enabled\": $1,"
}

# call NAME: how many a start made
call() {
	sed -n "s/^calls: .*\b$1 \([0-9]*\).*/\1/p" "$log"
}

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 150 1 '^task waits'
echo calls >&3
vmm_shows guest_makes_its_calls 120 1 '^ended, pins 0'
grep '^calls' "$log"
bpf=$(call bpf)

killed=0
# killed NAME CALL N PAGES: pages that are enabled then
killed() {
	killed=$((killed + 1))
	echo killed "$2" "$3" >&3
	vmm_shows "guest_killed_$1" 120 1 "^killed in $2 $3: 1"
	grep "^killed in $2 $3:" "$log"
	expect "guest_killed_$1_leaves_its_pages" enabled "$4"
	echo memory >&3
	vmm_shows "guest_killed_$1_gives_no_page_away" 60 $killed '^memory: 0'
	echo start >&3
	vmm_shows "guest_killed_$1_is_taken_over_from" 120 $killed '^start: 2 of 2 CPUs share'
	expect "guest_that_took_over_from_one_killed_$1_has_pages" enabled 2
	echo stop >&3
	vmm_shows "guest_that_took_over_from_one_killed_$1_ends" 60 $killed '^stopped 0, pins 0'
}

# The pages of the CPUs: frame numbers are read by pread64, after the device's command register;
# the last write says that all is well; SIGTERM makes it unlink its pins.
killed while_it_loads bpf $((bpf / 2)) 0
killed while_it_pins bpf $((bpf - 20)) 0
killed before_it_registers pread64 2 0
killed between_two_pages pread64 3 1
killed after_the_handshake write "$(call write)" 2
killed while_it_unpins unlink 3 0
echo off >&3
vmm_ended guest_powers_off
