#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# tests/run counts honestly: each kind of bad test is one failure, and nothing outlives its test.
cd "$(dirname "$0")/../.." || exit 1
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
failed=0

verdict() {
	local name=$1 why=$2
	if [ -z "$why" ]; then
		echo "ok $name"
	else
		echo "not ok $name: $why"
		failed=1
	fi
}

# NAME, EXPECTED LAST LINES, EXPECTED STATUS, body of a test script: runs it alone.
expect() {
	local name=$1 line=$2 status=$3 body=$4 output got
	rm -rf "${tree:?}/tests"
	mkdir -p "$tree/tests/unit"
	cp tests/run "$tree/tests/"
	printf '#!/bin/sh\n%s\n' "$body" >"$tree/tests/unit/it"
	chmod +x "$tree/tests/unit/it"
	output=$("$tree/tests/run" unit </dev/null 2>&1)
	got=$?
	if [ "$(tail -n "$(wc -l <<<"$line")" <<<"$output")" = "$line" ] && [ "$got" = "$status" ]; then
		verdict "$name" ""
	else
		echo "$output"
		verdict "$name" "wants '$line' and exit $status, got exit $got"
	fi
}

expect runner_cases_of_a_script_are_counted $'1 skipped\n2 passed, 0 failed' 0 \
	'printf "ok one\nnoise\nok two\nskip three: no such hardware\n"'
expect runner_tap_cases_are_counted $'1 skipped\n1 passed, 1 failed' 1 \
	'printf "1..3\nok 1 - one\nnot ok 2 - two\n# why\nnot ok 3 # SKIP three\n"; exit 1'
expect runner_failure_without_bad_exit_is_counted "1 passed, 1 failed" 1 \
	'printf "ok one\nnot ok two: it broke\n"'
expect runner_bad_exit_without_failure_is_one_failure "1 passed, 1 failed" 1 'echo ok one; exit 3'
expect runner_crash_is_one_failure "0 passed, 1 failed" 1 "kill -SEGV \$\$"
expect runner_silence_is_one_failure "0 passed, 1 failed" 1 'echo done'
expect runner_only_skips_is_no_success $'1 skipped\n0 passed, 0 failed' 1 'echo skip one: nothing here'
expect runner_test_that_needs_what_is_not_here_is_skipped $'1 skipped\n0 passed, 0 failed' 1 \
	'# needs: /no/such/device
echo ok one'
expect runner_test_that_needs_what_is_here_is_run "1 passed, 0 failed" 0 '# needs: /dev/null
echo ok one'
expect runner_hang_is_one_failure "0 passed, 1 failed" 1 "# timeout: 1
sleep 1000 & echo \$! >\"\$(dirname \"\$0\")/pid\"; wait"

# A zombie that nobody reaps has ended too.
pid=$(cat "$tree/tests/unit/pid")
if grep -q '^State:.*[SRD] ' "/proc/$pid/status" 2>/dev/null &&
	[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = sleep ]; then
	verdict runner_child_of_a_hung_test_is_ended "$pid still runs"
else
	verdict runner_child_of_a_hung_test_is_ended ""
fi

printf '#!/bin/sh\n# soak: 5\n[ "$PVSCHED_SOAK" = 1 ] && echo "ok long"\n' >"$tree/tests/unit/long"
chmod +x "$tree/tests/unit/long"
output=$("$tree/tests/run" --soak unit </dev/null 2>&1)
if [ "$(tail -n 1 <<<"$output")" = "1 passed, 0 failed" ]; then
	verdict runner_soak_runs_long_forms_only ""
else
	verdict runner_soak_runs_long_forms_only "$(tail -n 1 <<<"$output")"
fi

rm "$tree/tests/unit/"*
touch "$tree/tests/unit/it.c"
if [ "$("$tree/tests/run" unit | tail -n 1)" = "0 passed, 1 failed" ]; then
	verdict runner_program_not_built_is_one_failure ""
else
	verdict runner_program_not_built_is_one_failure "it was passed over"
fi
exit "$failed"
