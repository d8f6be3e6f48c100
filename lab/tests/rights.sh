# SPDX-License-Identifier: GPL-2.0-only
# What broker, agents, guardian and the reference VMM's threads may still do, where KVM is a module
# and its types are looked up by id.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 200

export CMOCKA_MESSAGE_OUTPUT=TAP
for name in privilege; do
	timeout -k 2 150 "$PVSCHED_BUILD/tests/native/$name" >"$LAB_OUT/$name.txt" 2>&1
	status=$?
	cat "$LAB_OUT/$name.txt"
	if [ $status -gt 1 ] || ! grep -q '^ok' "$LAB_OUT/$name.txt"; then
		not_ok "${name}_ends_well" "exit status $status"
	fi
done
