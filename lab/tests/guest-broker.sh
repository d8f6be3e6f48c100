# SPDX-License-Identifier: GPL-2.0-only
# The broker is killed under a stock Linux guest that shares its pages, and there is none for longer than
# pvsched-guest looks away; the next one takes the VM over. The guest goes on publishing, and neither
# it nor its administrator does anything.
# kernels: 6.12 7.3
# guests: linux
# tier: long
# timeout: 400
# inner: chrt

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
stty -echo </dev/console
echo "task waits"
while read -r what; do
	case $what in
	start)
		pvsched-guest run >/tmp/out 2>&1 & daemon=$!
		for i in $(seq 100); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	pass) # two of the daemon's looks, four seconds each
		sleep 10
		echo "passed: $(pvsched-guest status --json | grep -c '"shared": true') shared, $(grep -c . /tmp/out) said"
		;;
	urgent) taskset 2 chrt -f 5 sh -c 'while :; do :; done' & urgent=$!; echo "urgent" ;;
	stop) kill $urgent $daemon; wait $daemon; echo "stopped $?" ;;
	off) poweroff -f ;;
	esac
done </dev/console
END

# listed KEY N
listed() {
	pvsched list --json | grep -q "\"$1\": $2\$\|\"$1\": $2,"
}

serve() {
	pvsched serve >/tmp/serve 2>&1 &
	serve=$!
	within "$1" 200 pvsched list
}

log=$LAB_OUT/console.log
serve broker_listens
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 150 1 '^task waits'
echo start >&3
vmm_shows guest_shares_a_page_per_cpu 60 1 '^start: 2 of 2 CPUs share'
expect guest_pages_are_enabled listed enabled 2
kill -9 $serve
wait $serve
echo pass >&3
vmm_shows guest_without_a_broker_keeps_its_pages 60 1 '^passed: 2 shared, 1 said'
serve next_broker_listens
within next_broker_takes_the_pages_over 30 listed enabled 2
echo pass >&3
vmm_shows guest_did_nothing_meanwhile 60 2 '^passed: 2 shared, 1 said'
taskset 3 sh -c 'while :; do :; done' &
hogs=$!
taskset 3 sh -c 'while :; do :; done' &
hogs="$hogs $!"
echo urgent >&3
vmm_shows guest_is_urgent 60 1 '^urgent'
within guest_is_boosted_by_the_next_broker 60 listed boosts '[1-9][0-9]*'
kill $hogs
echo stop >&3
vmm_shows guest_daemon_ends 60 1 '^stopped 0'
within guest_pages_are_its_own_again 10 listed enabled 0
echo off >&3
vmm_ended guest_powers_off
kill $serve
wait $serve
