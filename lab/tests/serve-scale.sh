# SPDX-License-Identifier: GPL-2.0-only
# 1,024 vCPUs of 256 VMs under KVM, found at once: how long that takes, what the broker then needs, and
# that nobody wakes while nothing happens. Its clients' part is in the native tier.
# kernels: 6.12 7.3
# guests: none
# tier: soak
# clock: slow
# timeout: 60

"$PVSCHED_BUILD/tests/native/serve_scale" 'scale_256*' >"$LAB_OUT/serve_scale.txt" 2>&1
cat "$LAB_OUT/serve_scale.txt"
expect vms_are_found_and_cost_little grep -q 'PASSED.*1 test' "$LAB_OUT/serve_scale.txt"
found=$(sed -n 's/^# found: .* in \([0-9]*\) ms$/\1/p' "$LAB_OUT/serve_scale.txt")
figure found_1024_vcpus_ms "$found"
figure broker_kib "$(sed -n 's/^# found: the broker has \([0-9]*\) KiB$/\1/p' "$LAB_OUT/serve_scale.txt")"
expect they_are_found_in_under_a_second test "${found:-9999}" -lt 1000
