#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# No figure in the documents is copied by hand: they are those of the committed bench.
cd "$(dirname "$0")/../.." || exit 1
failed=0

if tools/results --check; then
	echo "ok results_in_the_documents_are_those_of_the_bench"
else
	echo "not ok results_in_the_documents_are_those_of_the_bench: run tools/results"
	failed=1
fi

if lab/linux-table --check; then
	echo "ok results_of_linux_guests_are_those_of_the_lab"
else
	echo "not ok results_of_linux_guests_are_those_of_the_lab: run lab/linux-table"
	failed=1
fi

if lab/actuators-table --check; then
	echo "ok results_of_actuators_are_those_of_the_lab"
else
	echo "not ok results_of_actuators_are_those_of_the_lab: run lab/actuators-table"
	failed=1
fi

# The check finds what it is for: one figure that was touched.
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/tools" "$tree/docs/bench"
cp tools/results "$tree/tools/"
cp docs/bench/native.json docs/bench/lab.json "$tree/docs/bench/"
cp docs/costs.md docs/lab.md "$tree/docs/"
sed '/results:begin results/,/results:end/s/| fifo | /&9/' README.md >"$tree/README.md"
if "$tree/tools/results" --check 2>"$tree/said"; then
	echo "not ok results_touched_by_hand_are_found: --check is content"
	failed=1
elif grep -q 'README.md and .* disagree' "$tree/said"; then
	echo "ok results_touched_by_hand_are_found"
else
	echo "not ok results_touched_by_hand_are_found: $(cat "$tree/said")"
	failed=1
fi
exit "$failed"
