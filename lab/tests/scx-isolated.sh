# SPDX-License-Identifier: GPL-2.0-only
# Where CPUs are isolated the kernel starts no scheduler: that is said before, and why.
# kernels: 7.3
# guests: none
# tier: long
# timeout: 60
# append: isolcpus=1

pvsched check >/tmp/check.txt
expect check_says_that_isolated_cpus_are_why grep -q 'scx  *not here: CPUs 1 are isolated' /tmp/check.txt
if pvsched serve --actuator scx >/tmp/out 2>&1; then
	not_ok scx_is_refused_in_one_line "it started"
else
	expect scx_is_refused_in_one_line grep -q 'isolcpus=.*use --actuator agent' /tmp/out
fi
