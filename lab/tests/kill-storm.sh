# SPDX-License-Identifier: GPL-2.0-only
# Broker, guardian and VMMs killed or stopped at random moments, one agent alone stopped, under load; the
# next broker takes the VMs over, a KVM guest among them.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 600
# soak: 7200

LAB_LIMIT=7200 native_programs kill_storm

boosted() {
	[ "$(vm_field boosts)" -gt 0 ]
}
enabled() {
	[ "$(vm_field enabled)" = 1 ]
}

pvsched serve >/tmp/serve 2>&1 &
serve=$!
within broker_listens 200 pvsched list
taskset 2 sh -c 'while :; do :; done' &
hog=$!
taskset 2 pvsched run --workload greedy >/tmp/run 2>&1 &
vmm=$!
within guest_is_boosted 30 boosted
kill -9 $serve
wait $serve
pvsched serve >/tmp/serve 2>&1 &
serve=$!
within next_broker_listens 200 pvsched list
within next_broker_takes_the_guest_over 30 enabled
within guest_is_boosted_again 30 boosted
kill $vmm $hog
wait $vmm
vmm_status=$?
if [ $vmm_status = 0 ]; then
	ok vmm_has_noticed_nothing
else
	not_ok vmm_has_noticed_nothing "exit status $vmm_status: $(tail -n 1 /tmp/run)"
fi
kill $serve
wait $serve
