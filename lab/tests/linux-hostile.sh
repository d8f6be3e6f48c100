# SPDX-License-Identifier: GPL-2.0-only
# A Linux guest whose root breaks every rule from user space, then one whose daemon is killed
# (SIGKILL) at random moments, under load: what the host says, keeps and boosts; and that an honest
# daemon still finds a device that works.
# Not on 7.3, where it needs twice its limits: loading programs in such a guest takes minutes.
# kernels: 6.12
# guests: linux
# tier: long
# timeout: 1200
# soak: 3600
# inner: chrt

PATIENCE=400 # a daemon that loads its programs: 3 s where nothing else runs
seconds=5 kills=4
[ "$PVSCHED_SOAK" = 1 ] && seconds=300 && kills=100

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
stty -echo </dev/console
echo "task waits"
while read -r what n; do
	case $what in
	hostile) /guest_hostile all $n ;;
	load) # real-time work, on and on; what never sleeps would leave the guest's daemon no CPU
		taskset 1 chrt -f 5 sh -c 'while :; do for i in 1 2 3 4 5 6 7 8 9; do :; done; usleep 2000; done' &
		taskset 2 sh -c 'while :; do :; done' &
		echo "load runs"
		;;
	start)
		: >/tmp/out
		pvsched-guest run >/tmp/out 2>&1 &
		daemon=$!
		# the kernel checks its programs, beside real-time work on a CPU that others have, too: how long
		# that may take is for the host to say
		until grep -q 'share a page\|pvsched-guest:' /tmp/out || ! kill -0 $daemon; do usleep 50000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	killed) # after that many ms, from the start on: in mid-load, in mid-handshake, while it publishes
		pvsched-guest run >/tmp/out 2>&1 &
		daemon=$!
		usleep $((n * 1000))
		kill -9 $daemon
		wait $daemon
		echo "killed after $n"
		;;
	stop) kill $daemon; wait $daemon; echo "stopped $?" ;;
	off) poweroff -f ;;
	esac
done </dev/console
END
mkdir -p /tmp/l2
cp "$PVSCHED_BUILD/tests/soak/guest_hostile" /tmp/l2/

rss() {
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}
enabled() {
	pvsched list --json | grep -q "\"enabled\": $1\$\|\"enabled\": $1,"
}

# of each vCPU's thread
unboosted() {
	for task in /proc/"$vmm"/task/*; do
		grep -q '^vcpu' "$task/comm" || continue
		[ "$(awk '{ print $41 }' "$task/stat")" = 0 ] || return 1
	done
}

pvsched serve >/tmp/serve 2>&1 &
serve=$!
within broker_listens 200 pvsched list
taskset 1 sh -c 'while :; do :; done' &
hog0=$!
taskset 2 sh -c 'while :; do :; done' &
hog1=$!
log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 200 1 '^task waits'

# whatever is allocated once is, after the first
echo hostile 1 >&3
vmm_shows guest_is_hostile 120 1 '^hostile all: .* done'
before=$(rss $serve)
lines=$(wc -l </tmp/serve)
echo hostile $seconds >&3
vmm_shows guest_is_hostile_for_long $((seconds + 120)) 2 '^hostile all: .* done'
within linux_hostile_leaves_no_vcpu_boosted 10 unboosted
grep '^hostile all:' "$log"
expect linux_hostile_pages_were_enabled grep -q '^hostile all: .* [1-9][0-9]* pages enabled' "$log"
grown=$(($(rss $serve) - before))
figure linux_hostile_broker_grown_kb $grown
if [ $grown -le 64 ]; then
	ok linux_hostile_broker_memory_does_not_grow
else
	not_ok linux_hostile_broker_memory_does_not_grow "by $grown kB"
fi
expect linux_hostile_nothing_is_said [ "$(wc -l </tmp/serve)" = "$lines" ]
echo start >&3
vmm_shows linux_hostile_leaves_a_device_that_works $PATIENCE 1 '^start: 2 of 2 CPUs share'
expect linux_hostile_then_honest_has_pages enabled 2
echo load >&3
vmm_shows guest_has_load 30 1 '^load runs'
was=$(vm_field boosts)
more() {
	[ "$(vm_field boosts)" -gt "$was" ]
}
within guest_is_boosted 60 more
echo stop >&3
vmm_shows guest_daemon_ends 60 1 '^stopped'

seed=$LAB_SEED
for i in $(seq $kills); do
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	echo killed $((seed / 65536 % 8000)) >&3
	vmm_shows "guest_daemon_killed_$i" 120 "$i" '^killed after'
done >/tmp/kills
grep -c '^ok' /tmp/kills | sed 's/^/figure guest_daemon_kills /'
grep '^not ok' /tmp/kills
expect guest_daemon_was_killed_that_often [ "$(grep -c '^killed after' "$log")" = $kills ]
echo start >&3
vmm_shows guest_daemon_takes_over_from_those_killed $PATIENCE 2 '^start: 2 of 2 CPUs share'
expect guest_daemon_that_took_over_has_pages enabled 2
was=$(vm_field boosts)
within guest_is_boosted_again 60 more
echo off >&3
vmm_ended guest_powers_off
kill $hog0 $hog1 $serve
wait $serve
