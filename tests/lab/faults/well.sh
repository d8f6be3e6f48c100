# SPDX-License-Identifier: GPL-2.0-only
# A good test after bad ones.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 10

ok well_is_run
figure answer 42
figure scale $LAB_SCALE
echo kept >"$LAB_OUT/file"
