# SPDX-License-Identifier: GPL-2.0-only
# What the host writes into its lines, seen from inside a stock Linux guest: state, steal, budget,
# the grant with its reason and generation, and placement where it was offered, fresh at each
# SCHED_IN.
# kernels: 6.1 6.12 7.3
# guests: linux
# tier: long
# timeout: 200
# inner: chrt

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
# of both CPUs
field() { pvsched-guest status --json | sed -n "s/^ *\"$1\": \(.*[^,]\),*\$/\1/p" | tr '\n' ' '; }
id() { pvsched-guest status --json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | tr '\n' ' '; }
stty -echo </dev/console
echo "task waits"
while read -r what more; do
	case $what in
	start)
		pvsched-guest run $more >/tmp/out 2>&1 & daemon=$!
		for i in $(seq 100); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	stop) kill $daemon; wait $daemon; echo "stopped $?" ;;
	place) echo "place $more: core $(id core) llc $(id llc) node $(id node)" ;;
	text) pvsched-guest status | sed 's/^/text: /'; echo "text done" ;;
	area) echo "area $more: ins $(field sched_ins) steal $(field steal_ns) budget $(field budget_left_ns) boosts $(field boosts)" ;;
	urgent) taskset 2 chrt -f 5 sh -c 'while :; do :; done' & urgent=$! ;;
	calm) kill $urgent; wait $urgent; echo "calm" ;;
	granted) # until the grant of CPU 1 has a reason, of a generation that was published
		for i in $(seq 100); do
			pvsched-guest status --json >/tmp/json
			grep -q "boosted: $more" /tmp/json && break
		done
		echo "granted: $(sed -n 's/.*"grant": "\(.*\)".*/\1/p' /tmp/json | tail -n 1)" \
			"answers $(sed -n 's/.*"grant_generation": \([0-9]*\).*/\1/p' /tmp/json | tail -n 1)" \
			"of $(sed -n 's/.*"generation": \([0-9]*\).*/\1/p' /tmp/json | tail -n 1)"
		;;
	watch) echo "watch: $(pvsched-guest status --watch --json | head -n 2 | grep -c '^\[.*"cpu": 0.*"cpu": 1.*\]$')" ;;
	off) poweroff -f ;;
	esac
done </dev/console
END

# pin MASK-OF-VCPU-0 MASK-OF-VCPU-1
pin() {
	for task in /proc/"$vmm"/task/*; do
		case $(cat "$task/comm") in
		vcpu0 | 'vcpu 0') taskset -p "$1" "${task##*/}" ;;
		vcpu1 | 'vcpu 1') taskset -p "$2" "${task##*/}" ;;
		esac
	done >>"$LAB_OUT/pins.txt"
}

# told NAME WORD: what the guest said on the line that begins with NAME, behind WORD, of both CPUs
told() {
	grep "^$1: " "$log" | tail -n 1 | tr -d '\r' | sed "s/.* $2 \([0-9]* [0-9]*\).*/\1/"
}

# same NAME WORD; differ NAME WORD: of both CPUs, and told
same() { told "$1" "$2" | awk '{ yes = $1 > 0 && $1 == $2 } END { exit !yes }'; }
differ() { told "$1" "$2" | awk '{ yes = $1 > 0 && $2 > 0 && $1 != $2 } END { exit !yes }'; }

# grew WORD: from the line before to the line after, on CPU 1
grew() {
	echo "$(told 'area before' "$1") $(told 'area after' "$1")" | awk '{ yes = NF == 4 && $4 > $2 } END { exit !yes }'
}

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2 --placement
ls /proc/"$vmm"/task/ >/dev/null
vmm_shows linux_boots 150 1 '^task waits'
echo start --features ticket,next_event,pending >&3
vmm_shows older_guest_of_a_host_with_placement_shares 60 1 '^start: 2 of 2 CPUs share'
expect older_guest_takes_what_it_knows grep -q 'features 0x7;' "$log"
echo place none >&3
vmm_shows placement_without_its_feature_is_asked 30 1 '^place none:'
expect placement_without_its_feature_is_not_told grep -q '^place none: core 0 0  llc 0 0  node 0 0' "$log"
echo stop >&3
vmm_shows older_guest_stops 30 1 '^stopped 0'
pin 1 2
echo start >&3
vmm_shows guest_shares_with_placement 60 2 '^start: 2 of 2 CPUs share'
expect guest_takes_placement grep -q 'features 0xf;' "$log"
echo place apart >&3
vmm_shows placement_is_told 30 1 '^place apart:'
pin 1 1
echo place together >&3
vmm_shows placement_is_told_again 30 1 '^place together:'
grep '^place' "$log"
if [ "$(cat /sys/devices/system/cpu/cpu0/topology/core_cpus_list)" = 0 ]; then
	expect placement_of_two_cores_differs differ 'place apart' core
else
	expect placement_of_threads_of_a_core_is_one same 'place apart' core
fi
expect placement_of_one_cpu_is_one same 'place together' core
expect placement_of_one_node_is_one same 'place apart' node
pin 1 2
for mask in 1 2; do
	taskset $mask sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
echo area before >&3
vmm_shows host_area_is_told 60 1 '^area before:'
echo urgent >&3
echo granted task >&3
vmm_shows grant_says_its_reason 120 1 '^granted: FIFO 1 .boosted: task'
grep '^granted' "$log"
expect grant_answers_a_generation_that_was_published sh -c \
	"sed -n 's/^granted: .* answers \([0-9]*\) of \([0-9]*\).*/\1 \2/p' $log |
	awk '{ yes = \$1 > 0 && \$1 <= \$2 && \$2 - \$1 < 1000000 } END { exit !yes }'"
echo calm >&3
vmm_shows guest_is_calm 60 1 '^calm'
echo area after >&3
vmm_shows host_area_is_told_again 60 1 '^area after:'
grep '^area' "$log"
expect area_counts_each_sched_in grew ins
expect area_steal_grows_beside_a_rival grew steal
expect area_boosts_are_counted grew boosts
expect area_budget_is_told sh -c "grep -q '^area before: .* budget [1-9]' $log"
echo watch >&3
vmm_shows status_watched_is_a_line_a_second 60 1 '^watch: 2'
echo text >&3
vmm_shows status_shows_placement 60 2 '^text: *on core [1-9][0-9]*, cache'
vmm_shows status_ends 60 1 '^text done'
sed -n 's/^text: /# /p' "$log"
kill $hogs
echo off >&3
vmm_ended guest_powers_off
