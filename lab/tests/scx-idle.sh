# SPDX-License-Identifier: GPL-2.0-only
# A vCPU whose guest sleeps between its timer interrupts, beside hogs, and is boosted once a second at most:
# as it wakes its page still says that the guest idles, but it ranks as any task that slept, not below all.
# Time is counted in instructions.
# kernels: 7.3
# guests: baremetal
# tier: long
# clock: instructions
# timeout: 60

pvsched serve --actuator scx >/tmp/serve 2>&1 &
broker=$!
within scx_starts 60 grep -q '^ready' /tmp/serve || cat /tmp/serve
expect boosts_are_few pvsched budget --rate 1 host
pvsched run --workload sleeping --hogs 2 --seconds 60 >/tmp/run 2>&1 &
vmm=$!
sleep 3
pvsched stat 3 1 | tee /tmp/stat
# VM, name, p50, p99, max us
wake=$(tail -n 1 /tmp/stat | awk '{ print $3 }')
figure wake_p50_us "$wake"
expect vcpu_that_wakes_is_not_low awk -v us="$wake" 'BEGIN { exit !(us > 0 && us < 500) }'
expect scheduler_is_on grep -q '^enabled' /sys/kernel/sched_ext/state
kill $vmm
wait $vmm
kill $broker
wait $broker
