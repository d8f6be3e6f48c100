# SPDX-License-Identifier: GPL-2.0-only
# A program of the native tier whose case could not be set up, as cmocka says it.
# kernels: 6.12
# guests: none
# tier: short
# timeout: 20

ok another
echo "not ok 2 - case_that_was_not_run Could not run test: Test setup failed"
