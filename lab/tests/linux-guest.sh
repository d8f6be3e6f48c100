# SPDX-License-Identifier: GPL-2.0-only
# Stock Debian Linux as a KVM guest of stock Debian Linux: what tests of Linux guests stand on.
# kernels: 6.12 7.3
# guests: linux
# tier: long
# timeout: 90

cat >/tmp/task <<'END'
echo "cpus $(nproc)"
END
expect linux_guest_ends l2_linux /tmp/task "$LAB_OUT/console.log"
expect linux_guest_is_up grep -q "^l2 up $(uname -r)" "$LAB_OUT/console.log"
expect linux_guest_has_two_vcpus grep -q '^cpus 2' "$LAB_OUT/console.log"
expect linux_guest_task_succeeds grep -q '^l2 done 0' "$LAB_OUT/console.log"
