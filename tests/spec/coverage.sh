#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# Every branch of src/core is taken by the unit tests, but for those that a comment excludes.
cd "$(dirname "$0")/../.." || exit 1
failed=0

if tools/coverage "${PVSCHED_BUILD:-$PWD/build}/coverage"; then
	echo "ok core_branches_are_all_taken"
else
	echo "not ok core_branches_are_all_taken: see the column Missing, or the last lines"
	failed=1
fi

# An exclusion gives its reason on its own line: `GCOVR_EXCL_BR_LINE: why`.
if grep -rn 'GCOVR_EXCL\|LCOV_EXCL' src/core | grep -v '_EXCL[A-Z_]*: [a-z0-9]'; then
	echo "not ok core_coverage_exclusion_gives_its_reason: see above"
	failed=1
else
	echo "ok core_coverage_exclusion_gives_its_reason"
fi
exit "$failed"
