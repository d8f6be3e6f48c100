# SPDX-License-Identifier: GPL-2.0-only
# Stock QEMU with a virtio-serial port and nothing else of ours, a stock kernel in it that runs
# pvsched-guest: the whole protocol over the port. What its page asks for is granted; a broker that is
# killed is found again; a daemon that is killed ends the host's writes; a peer that is no VM is refused.
# kernels: 6.1 6.12 7.3
# guests: linux
# machine: q35
# tier: long
# timeout: 400
# programs: bpftool

# Commands typed on the console; each says what came of it in a line of its own.
cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
stty -echo </dev/console
echo "task waits $(cat /sys/class/virtio-ports/*/name)"
while read -r what; do
	case $what in
	start)
		pvsched-guest run >/tmp/out 2>&1 & daemon=$!
		for i in $(seq 300); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	latency)
		sh -c 'while :; do :; done' & hog=$!
		pvsched-guest latency --pid $hog
		echo "latency: declared"
		;;
	again)
		for i in $(seq 300); do grep -q 'shares its pages again' /tmp/out && break; usleep 100000; done
		echo "again: $(grep -c 'shares its pages again' /tmp/out)"
		;;
	words) echo "words: $(pvsched-guest status --json | grep -c '"boosts": [1-9]') budget $(pvsched-guest status --json | grep -c '"budget_left_ns": [1-9]')" ;;
	kill) kill -9 $daemon; wait $daemon; echo "killed" ;;
	stop) kill $daemon; wait $daemon; echo "stopped $?, pins $(ls /sys/fs/bpf/pvsched | grep -vc declared)" ;;
	off) kill $hog; poweroff -f ;;
	esac
done </dev/console
END

listed() {
	pvsched list --json | tr -d '\n' | grep -q "\"name\": \"web\".*$1"
}
# boosted N: more boosts than that, for the task that the page names
boosted() {
	n=$(pvsched stat --json | grep -o '"granted": {[^}]*}' | grep -o '"task": [0-9]*' | awk '{ s += $2 } END { print s + 0 }')
	[ "$n" -gt "$1" ]
}
serve() {
	pvsched serve >/tmp/ready 2>>/tmp/serve-said &
	serve=$!
	within "$1" 60 grep -q ready /tmp/ready
}

serve serve_is_ready
qemu_start /tmp/task "$LAB_OUT/console.log" -name web \
	-chardev socket,path=/run/pvsched/port.sock,id=pv,reconnect-ms=1000 \
	-device virtio-serial -device virtserialport,chardev=pv,name=org.pvsched.0
vmm_shows linux_boots 200 1 '^task waits org.pvsched.0'
expect vm_is_found_host_only listed '"vcpus": 2.*"protocol": "host-only"'
echo start >&3
vmm_shows guest_shares_a_page_per_cpu 90 1 '^start: 2 of 2 CPUs share'
grep '^start:' "$LAB_OUT/console.log"
figure handshake_2_ms "$(sed -n 's/^start: .*handshake \([0-9.]*\) ms.*/\1/p' "$LAB_OUT/console.log" | head -n 1)"
within vm_is_listed_as_stream 20 listed '"enabled": 2.*"protocol": "stream"'

for mask in 1 1 2 2; do
	taskset $mask sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
echo latency >&3
vmm_shows guest_declares_a_task 60 1 '^latency: declared'
within declared_task_is_boosted 30 boosted 5
pvsched stat --vcpus
echo words >&3
vmm_shows guest_reads_what_the_host_writes 60 1 '^words: [12] budget [12]'

kill -STOP $hogs

# QEMU stands still for longer than the lease lasts.
kill -STOP $vmm
within lease_of_a_vm_that_is_stopped_is_over 20 listed '"enabled": 0.*"protocol": "host-only"'
kill -CONT $vmm
within guest_that_was_stopped_shares_again 60 listed '"enabled": 2.*"protocol": "stream"'

echo kill >&3
vmm_shows guest_daemon_is_killed 60 1 '^killed'
within lease_that_is_over_ends_the_pages 20 listed '"enabled": 0.*"protocol": "host-only"'
echo start >&3
vmm_shows guest_daemon_started_again_takes_over 90 2 '^start: 2 of 2 CPUs share'
within vm_is_listed_as_stream_again 20 listed '"enabled": 2.*"protocol": "stream"'

kill -9 $serve
wait $serve
serve serve_is_ready_again
echo again >&3
vmm_shows guest_finds_the_next_broker 90 1 '^again: 1'
within vm_is_stream_of_the_next_broker 20 listed '"enabled": 2.*"protocol": "stream"'
kill -CONT $hogs
within declared_task_is_boosted_again 30 boosted 5
kill -9 $hogs

echo stop >&3
vmm_shows guest_daemon_stops 60 1 '^stopped 0, pins 0'
within pages_are_the_guests_again 10 listed '"enabled": 0.*"protocol": "host-only"'
echo off >&3
vmm_ended guest_powers_off
pvsched list --json >"$LAB_OUT/list.json"
kill $serve
wait $serve
expect serve_ends_well test $? = 0
cat /tmp/serve-said
expect no_socket_is_left test ! -e /run/pvsched/port.sock
expect no_program_is_left sh -c '! bpftool prog show | grep pvsched_'
