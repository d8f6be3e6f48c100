# SPDX-License-Identifier: GPL-2.0-only
# The pvsched command where it needs KVM: run, serve and run, bench and its reports, and what each
# refuses. tests/native/cli_command.py has the rest, and these too where the machine has KVM.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# short: 6.12
# timeout: 200

# refused NAME STATUS WORDS COMMAND...: one line, progress aside, that begins with "pvsched: " and
# has the words, and that exit status
refused() {
	name=$1 status=$2 words=$3
	shift 3
	timeout 60 "$@" >/tmp/out 2>/tmp/err </dev/null
	got=$?
	grep -v '^pvsched bench: ' /tmp/err >/tmp/lines
	if [ $got = "$status" ] && [ "$(wc -l </tmp/lines)" = 1 ] && grep -q "^pvsched: .*$words" /tmp/lines; then
		ok "$name"
	else
		not_ok "$name" "status $got, $(wc -l </tmp/lines) lines: $(tail -n 1 /tmp/err)"
	fi
}

# vcpu N PATTERN: the last snapshot's line of that vCPU
vcpu() {
	grep "\"vcpu\": $1," "$LAB_OUT/run.json" | tail -n 1 | grep -q "$2"
}

ended() {
	! kill -0 "$1" 2>/dev/null
}

expect run_ends_by_itself pvsched run --seconds 3 --cpus 2 --hogs 2 --workload busy --json
cp /tmp/expect "$LAB_OUT/run.json"
expect run_reports_the_handshake grep -q '"result": "OK"' "$LAB_OUT/run.json"
expect run_started_a_broker_of_its_own grep -q '"broker": "in this process"' "$LAB_OUT/run.json"
expect run_publishes vcpu 0 '"plays": "busy".*"valid": true.*"next_event": [1-9]'
expect run_is_granted vcpu 0 '"boosts": [1-9]'
expect run_shows_both_vcpus vcpu 1 '"status": 2'

refused run_missing_image_is_refused 1 /nope.bin pvsched run --image /nope.bin --seconds 1
refused run_unknown_policy_is_refused 1 nope pvsched run --policy nope --seconds 1
refused run_without_kvm_is_refused 1 '/dev/kvm.*load kvm' unshare -m sh -c \
	'mount -t tmpfs none /dev && exec pvsched run --seconds 1'
refused bench_without_kvm_is_refused 1 /dev/kvm unshare -m sh -c \
	'mount -t tmpfs none /dev && exec pvsched bench --quick --variant other'
refused bench_on_one_cpu_is_refused 1 taskset taskset 1 pvsched bench --quick
refused bench_unwritable_report_is_refused 1 /nope/b.json pvsched bench --json /nope/b.json

pvsched serve --socket /tmp/socket >/tmp/serve 2>&1 &
serve=$!
within serve_gets_ready 60 grep -q '^ready' /tmp/serve
refused serve_twice_is_refused 1 'runs on this host' pvsched serve --socket /tmp/other
refused run_with_a_policy_of_its_own_beside_a_broker_is_refused 1 -- pvsched run --policy off --seconds 1
expect run_joins_a_serving_broker sh -c \
	'pvsched run --socket /tmp/socket --seconds 1 --json | grep -q "\"broker\": \"joined\""'
kill $serve
wait $serve
expect serve_ends_well test $? = 0
expect serve_leaves_no_socket test ! -e /tmp/socket

# A run that is killed, or interrupted, leaves nothing.
pvsched bench --variant other --hogs 3 >/tmp/bench 2>&1 &
bench=$!
within bench_starts_its_hogs 30 sh -c "[ \$(wc -w </proc/$bench/task/$bench/children) = 3 ]"
hogs=$(cat /proc/$bench/task/$bench/children)
kill -KILL $bench
wait $bench
for hog in $hogs; do
	within bench_killed_leaves_no_hog 10 ended "$hog"
done
mkdir /tmp/b
pvsched bench --variant other --html /tmp/b/b.html >/tmp/bench 2>&1 &
bench=$!
within bench_begins 30 grep -q 'run 1 of' /tmp/bench
kill -INT $bench
within bench_interrupted_ends 30 ended $bench
expect bench_interrupted_says_so grep -q interrupted /tmp/bench
expect bench_interrupted_leaves_no_file test -z "$(ls /tmp/b)"

expect bench_quick_runs pvsched bench --quick --variant other,fifo --hogs 0,2 --samples 50 \
	--no-cost --json /tmp/b/b.json --html /tmp/b/b.html --raw /tmp/b/raw
expect bench_measures_every_cell sh -c '[ $(grep -c "^      \"workload\"" /tmp/b/b.json) = 16 ]'
expect bench_writes_its_reports_and_no_more test "$(ls /tmp/b | tr '\n' ' ')" = 'b.html b.json raw '
expect bench_keeps_every_sample sh -c \
	'cat /tmp/b/raw/* | wc -l | grep -qx 800 && [ $(ls /tmp/b/raw | wc -l) = 16 ]'
max=$(sort -n /tmp/b/raw/busy-other-2-1.txt | tail -n 1)
expect bench_figures_are_those_of_the_samples awk -v max="$max" '
	/^      "workload"/ { cell = $2; next }
	/^      "(variant|hogs)"/ { cell = cell $2; next }
	/^      "max_us"/ && cell == "\"busy\",\"other\",2," { found = int($2 * 1000 + 0.5) }
	END { print "max is", found, "and", max; exit found != max }' /tmp/b/b.json
