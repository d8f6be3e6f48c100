# SPDX-License-Identifier: GPL-2.0-only
# How long the handshake of a Linux guest with eight vCPUs takes, in its own time: from the device's
# reset to DRIVER_OK, seven times.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# clock: slow
# timeout: 60

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
for round in 1 2 3 4 5 6 7; do
	pvsched-guest run >/tmp/out 2>&1 & daemon=$!
	for i in $(seq 3000); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 10000; done
	echo "round $round: $(tail -n 1 /tmp/out)"
	kill $daemon
	wait $daemon
done
poweroff -f
END

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 8
within linux_guest_ends 50 sh -c "! kill -0 $vmm 2>/dev/null"
vmm_ended linux_guest_powers_off
grep '^round' "$log"
ms=$(sed -n 's/^round .*: 8 of 8 CPUs .*handshake \([0-9.]*\) ms.*/\1/p' "$log" | sort -n |
	awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
figure handshake_8_ms "$ms"
expect handshake_of_eight_vcpus_takes_less_than_50_ms \
	awk -v ms="$ms" 'BEGIN { print ms " ms"; exit !(ms != "" && ms + 0 < 50) }'
