# SPDX-License-Identifier: GPL-2.0-only
# pvsched-guest on a stock kernel in the reference VMM: what it shares, publishes and is told; what
# happens when it ends, is killed, starts again, and when a CPU goes and comes.
# kernels: 6.1 6.12 7.3
# guests: linux
# tier: long
# short: 6.1
# timeout: 500
# inner: chrt cyclictest

# Commands typed on the console; each says what came of it in a line of its own.
cat >/tmp/task <<'END'
mkdir -p /sys/fs/cgroup /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf none /sys/fs/bpf
field() { pvsched-guest status --json | grep -m1 "\"$1\"" | tr -d ' ,"' | cut -d: -f2-; }
# until N CPUs say so, at most five seconds: prints how many do
seen() {
	for i in $(seq 25); do
		n=$(pvsched-guest status --json | grep -c "$2")
		[ "$n" = "$1" ] && break
		usleep 200000
	done
	echo "$n"
}
# what is left of its budget, once something is: none is when a boost has just used it up
budget() {
	for i in $(seq 50); do
		b=$(field budget_left_ns)
		[ "$b" != 0 ] && break
		usleep 20000
	done
	echo "$b"
}
stty -echo </dev/console
echo "task waits"
while read -r what more; do
	case $what in
	start)
		pvsched-guest run >/tmp/out 2>&1 &
		daemon=$!
		for i in $(seq 100); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	kill) kill -9 $daemon; wait $daemon; echo "killed, pins $(ls /sys/fs/bpf/pvsched | grep -c .)" ;;
	stop) kill $daemon; wait $daemon; echo "stopped $?, pins $(ls /sys/fs/bpf/pvsched | grep -vc declared)" ;;
	out) cat /tmp/out; echo "out done" ;;
	second) pvsched-guest status | sed 's/^/status: /'; echo "status done" ;;
	rt)
		taskset 2 chrt -f 5 sh -c 'while :; do :; done' & hog=$!
		echo "rt: $(seen 1 'FIFO 5')"
		kill $hog; wait $hog
		;;
	latency)
		taskset 2 sh -c 'while :; do :; done' & hog=$!
		pvsched-guest latency --pid $hog
		echo "latency: $(seen 1 'nice 0, latency') shown $(pvsched-guest latency | grep -c "pid $hog")"
		pvsched-guest latency --pid $hog --clear
		echo "cleared: $(seen 0 'nice 0, latency')"
		mkdir /sys/fs/cgroup/fast
		echo $hog >/sys/fs/cgroup/fast/cgroup.procs
		pvsched-guest latency --cgroup /sys/fs/cgroup/fast
		echo "cgroup: $(seen 1 'nice 0, latency')"
		pvsched-guest latency --clear
		deep=/sys/fs/cgroup/fast/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20
		mkdir -p $deep
		echo $hog >$deep/cgroup.procs
		echo "cleared again: $(seen 0 'nice 0, latency')"
		pvsched-guest latency --cgroup /sys/fs/cgroup/fast
		echo "deep: $(seen 1 'nice 0, latency')"
		pvsched-guest latency --clear
		pvsched-guest latency --pid $hog
		kill $hog; wait $hog
		echo "ended: $(pvsched-guest latency | grep -c pid)"
		;;
	thread) # not the one whose id is the process's
		cyclictest -q -t 1 -D 60 >/dev/null 2>&1 & threads=$!
		for i in $(seq 50); do thread=$(ls /proc/$threads/task | grep -vx $threads) && break; usleep 100000; done
		echo "thread: $(pvsched-guest latency --pid $thread 2>&1)"
		echo "shown: $(pvsched-guest latency | grep -c pid) of process $threads"
		kill $threads; wait $threads
		;;
	busy) # CPU 1 runs one task and never idles: its next timer, twelve times
		taskset 2 sh -c 'while :; do :; done' & hog=$!
		: >/tmp/next
		for i in $(seq 12); do
			taskset 1 pvsched-guest status --json | sed -n 's/.*"next_event": \([0-9]*\).*/\1/p' | tail -n 1 >>/tmp/next
		done
		echo "busy: $(grep -c '^[1-9]' /tmp/next) times $(sort -u /tmp/next | grep -c '^[1-9]') moments"
		kill $hog; wait $hog
		;;
	demoted) # waits behind another on CPU 1, loses its class, moves to CPU 0
		mkfifo /tmp/gate
		# The word is the most urgent one's: what the kernel's watchdog wakes there, each 4 s, takes it and
		# leaves nothing. Before that somebody must have looked: again, then.
		for i in $(seq 10); do
			taskset 2 chrt -f 5 sh -c 'read -r go </tmp/gate; while :; do :; done' & waits=$!
			for i in $(seq 50); do grep -q 'State:.S' /proc/$waits/status && break; usleep 100000; done
			taskset 2 chrt -f 50 sh -c 'while :; do :; done' & hog=$!
			echo "ahead: $(seen 1 'FIFO 50')"
			echo go >/tmp/gate
			n=$(seen 1 '"pending": true')
			[ "$n" = 1 ] && break
			kill $waits $hog; wait $waits $hog
		done
		echo "waits: $n"
		chrt -o -p 0 $waits
		taskset -p 1 $waits >/dev/null
		echo "demoted: $(seen 0 '"pending": true')"
		kill $waits $hog; wait $waits $hog
		;;
	twice) # while the first lives
		timeout 30 pvsched-guest run >/tmp/second 2>&1
		echo "twice: $? $(tail -n 1 /tmp/second)"
		;;
	cpu) echo $more >/sys/devices/system/cpu/cpu1/online; 
		echo "cpu $more: $(seen $((more + 1)) '"shared": true')" ;;
	words) echo "words: next $(seen 2 '"next_event": [1-9]') ticket $(field ticket) ack $(field ack) steal $(field steal_ns) budget $(budget) stores $(field stores)" ;;
	memory) # what the host might still write to would be found in freed memory
		dd if=/dev/zero of=/tmp/fill bs=1M count=60 2>/dev/null; sync
		sleep 1
		echo "memory: $(tr -d '\000' </tmp/fill | wc -c)"; rm /tmp/fill
		;;
	off) poweroff -f ;;
	esac
done </dev/console
END

enabled() {
	pvsched list --json | grep -q "\"enabled\": $1\$\|\"enabled\": $1,"
}

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 150 1 '^task waits'
echo start >&3
vmm_shows guest_shares_a_page_per_cpu 60 1 '^start: 2 of 2 CPUs share'
grep '^start:' "$log" | tail -n 1
figure handshake_2_ms "$(sed -n 's/^start: .*handshake \([0-9.]*\) ms.*/\1/p' "$log" | head -n 1)"
expect guest_pages_are_enabled enabled 2
echo words >&3
vmm_shows guest_words_are_told 30 1 '^words: '
grep '^words:' "$log"
expect guest_publishes_its_next_event grep -q '^words: next [12]' "$log"
expect guest_is_told_its_budget grep -q 'budget [1-9]' "$log"
echo rt >&3
vmm_shows guest_real_time_task_is_published 30 1 '^rt: 1'
echo latency >&3
vmm_shows guest_declared_process_is_published 30 1 '^latency: 1 shown 1'
vmm_shows guest_cleared_process_is_not 30 1 '^cleared: 0'
vmm_shows guest_declared_cgroup_is_published 30 1 '^cgroup: 1'
vmm_shows guest_cgroup_twenty_below_is_published 30 1 '^deep: 1'
vmm_shows guest_process_that_ended_is_declared_no_longer 30 1 '^ended: 0'
echo thread >&3
vmm_shows guest_single_thread_is_refused 30 1 '^thread: .*it is one thread of process'
vmm_shows guest_thread_that_was_refused_is_not_declared 30 1 '^shown: 0'
echo busy >&3
vmm_shows guest_busy_cpu_is_looked_at 60 1 '^busy:'
grep '^busy:' "$log"
expect guest_busy_cpu_publishes_its_next_event grep -q '^busy: \(9\|1[0-2]\) times' "$log"
expect guest_busy_cpus_next_event_moves_on grep -q '^busy: .* times \([6-9]\|1[0-2]\) moments' "$log"
echo demoted >&3
vmm_shows guest_task_that_waits_is_pending 60 1 '^waits: 1'
vmm_shows guest_task_that_moves_is_withdrawn_whatever_it_is 60 1 '^demoted: 0'
echo twice >&3
vmm_shows guest_second_daemon_is_refused 60 1 '^twice: 1 .*another pvsched-guest run has it'
expect guest_second_daemon_leaves_the_firsts_pages enabled 2
echo cpu 0 >&3
vmm_shows guest_cpu_offline_gives_its_page_up 30 1 '^cpu 0: 1'
within guest_cpu_offline_is_known_to_the_host 10 enabled 1
echo cpu 1 >&3
vmm_shows guest_cpu_online_has_a_page_again 30 1 '^cpu 1: 2'
echo kill >&3
vmm_shows guest_daemon_killed_leaves_its_pins 30 1 '^killed, pins [1-9]'
expect guest_daemon_killed_keeps_the_pages enabled 2
echo memory >&3
vmm_shows guest_daemon_killed_gives_no_page_to_others 60 1 '^memory: 0'
echo start >&3
vmm_shows guest_daemon_started_again_takes_over 60 2 '^start: 2 of 2 CPUs share'
expect guest_daemon_that_took_over_shares_again enabled 2
echo stop >&3
vmm_shows guest_daemon_stopped_takes_its_pins_away 30 1 '^stopped 0, pins 0'
within guest_daemon_stopped_gives_its_pages_back 10 enabled 0
echo memory >&3
vmm_shows guest_memory_is_its_own_again 60 2 '^memory: 0'
echo start >&3
vmm_shows guest_daemon_starts_anew 60 3 '^start: 2 of 2 CPUs share'
echo off >&3
vmm_ended guest_powers_off_with_pages
