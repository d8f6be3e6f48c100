# SPDX-License-Identifier: GPL-2.0-only
# A host full of vCPUs, 1,024: of 256 VMs under KVM that are found at once, and of 64 VMM processes that
# are clients. How long they take to be found, what an event then costs, what the broker needs, and
# that nobody wakes while nothing happens.
# kernels: 6.12 7.3
# guests: none
# tier: soak
# clock: slow
# timeout: 120

"$PVSCHED_BUILD/tests/native/serve_scale" >"$LAB_OUT/serve_scale.txt" 2>&1
cat "$LAB_OUT/serve_scale.txt"
said() {
	sed -n "s/^# $1\$/\\1/p" "$LAB_OUT/serve_scale.txt"
}
expect both_hosts_are_served_in_bounds grep -q 'PASSED.*2 test' "$LAB_OUT/serve_scale.txt"
found=$(said 'found: .* in \([0-9]*\) ms')
one=$(said 'switch: \([0-9]*\) ns .*') full=$(said 'switch: .*, \([0-9]*\) ns .*')
figure found_1024_vcpus_ms "$found"
figure broker_of_found_kib "$(said 'found: the broker has \([0-9]*\) KiB')"
figure broker_of_clients_kib "$(said 'clients: the broker has \([0-9]*\) KiB')"
figure switch_of_one_ns "$one"
figure switch_of_all_ns "$full"
expect they_are_found_in_under_a_second test "${found:-9999}" -lt 1000
expect an_event_costs_little_more_than_with_one_vcpu awk -v one="$one" -v full="$full" \
	'BEGIN { print one " ns with one, " full " ns with all"; exit !(one > 0 && full > 0 && full <= 1.1 * one) }'
