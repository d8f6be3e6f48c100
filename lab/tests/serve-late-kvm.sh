# SPDX-License-Identifier: GPL-2.0-only
# A broker that starts before KVM is loaded says so, and once more when KVM has come; the next one finds it.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# timeout: 120

load() {
	for module in $(grep '^kvm' /lab/modules/order); do
		insmod "/lab/modules/$module.ko" || return 1
	done
}
serve() {
	pvsched serve >/tmp/ready 2>/tmp/serve-said &
	serve=$!
	within "$1" 60 grep -q ready /tmp/ready
}

expect kvm_is_unloaded sh -c 'rmmod kvm_amd && rmmod kvm'
serve serve_without_kvm_is_ready
expect kvm_that_lacks_is_said grep -q 'KVM is not loaded' /tmp/serve-said
expect kvm_is_loaded load
kill -HUP $serve
within kvm_that_comes_late_is_said 30 grep -q 'KVM was loaded after' /tmp/serve-said
kill $serve
wait $serve
serve serve_with_kvm_is_ready
expect nothing_is_said_of_kvm sh -c '! grep KVM /tmp/serve-said'
kill $serve
wait $serve
expect serve_ends_well test $? = 0
