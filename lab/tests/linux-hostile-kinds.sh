# SPDX-License-Identifier: GPL-2.0-only
# A Linux guest whose root breaks the rules from user space, one kind at a time, beside a VM that keeps to
# them and tasks of the host: for each kind what counts it by its name, what CPU the guest gets, that the
# others are served; and that the broker neither grows nor says anything.
# kernels: 6.1 6.12 7.3
# guests: linux
# tier: long
# timeout: 1200
# soak: 2400

# of each kind; what a guest may get of a CPU is promised over 20 s (spec ACC-31): B + (1 - B) / 2 + 2
# points. A shorter window is a figure, and held to what would be no bound at all.
seconds=1 most=90
[ "$PVSCHED_SOAK" = 1 ] && seconds=20 most=72

cat >/tmp/task <<'END'
stty -echo </dev/console
echo "task waits"
while read -r what kind; do
	case $what in
	hostile) /guest_hostile $kind 3600 & ;;
	end) kill $!; wait $! ;;
	off) poweroff -f ;;
	esac
done </dev/console
END
mkdir -p /tmp/l2
cp "$PVSCHED_BUILD/tests/soak/guest_hostile" /tmp/l2/

rss() {
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}

# vcpu_on PID VCPU CPU: its thread runs there only
vcpu_on() {
	vcpu_n=0
	for vcpu_task in /proc/"$1"/task/*; do
		grep -q '^vcpu' "$vcpu_task/comm" || continue
		[ $vcpu_n != "$2" ] || taskset -p $((1 << $3)) "${vcpu_task##*/}" >/dev/null || return 1
		vcpu_n=$((vcpu_n + 1))
	done
	[ $vcpu_n -gt "$2" ]
}

# of_vm FILE PID: what the file has of a VMM's VM; of_sum without that of each vCPU
of_vm() {
	sed 's/{"vm": /\n&/g' "$1" | grep "\"pid\": $2,"
}
of_sum() {
	of_vm "$1" "$2" | sed 's/"vcpu": \[.*//'
}
# counted FILE PID KEY [REASON]
counted() {
	if [ -n "$4" ]; then
		counted_n=$(of_sum "$1" "$2" | grep -o "\"$3\": {[^}]*}" | grep -o "\"$4\": [0-9]*")
	else
		counted_n=$(of_sum "$1" "$2" | grep -o "\"$3\": [0-9]*")
	fi
	echo "${counted_n##* }" | grep . || echo 0
}
# more PID KEY [REASON]: since the kind began, as of the last look
more() {
	echo $(($(counted /tmp/now "$@") - $(counted /tmp/base "$@")))
}
rose() {
	pvsched stat --json >/tmp/now
	[ "$(more "$@")" -gt 0 ] || {
		of_sum /tmp/now "$1"
		return 1
	}
}
denied() {
	pvsched stat --json >/tmp/now
	[ $(($(more "$vmm" throttled critical) + $(more "$vmm" gaps critical))) -gt 0 ]
}
# of CPU 0, where it is alone with one task of the host; percent
share() {
	share_ns=$(of_vm /tmp/stat "$vmm" | sed 's/.*"vcpu": \[//' | grep -o '"run_ns": [0-9]*' | head -n 1)
	share_of=$(grep -o '"seconds": [0-9.]*' /tmp/stat)
	awk "BEGIN { printf \"%.1f\", ${share_ns##* } / ${share_of##* } / 1e7 }"
}
# ticks of user mode that a process has had
ticks() {
	cut -d' ' -f14 "/proc/$1/stat"
}
# says PATTERN: what the guest says of this kind
says() {
	tr -d '\r' <"$log" | grep "^hostile $kind:" | grep -q "$1" || {
		grep "^hostile $kind:" "$log"
		return 1
	}
}

# the broker since then
says_nothing() {
	tail -n +$((lines + 1)) /tmp/serve
	[ "$(wc -l </tmp/serve)" = "$lines" ]
}
# victim_place FILE: a VM that has lost its broker and joined it again has another one
victim_place() {
	of_vm "$1" $victim | sed 's/{"vm": \([0-9]*\).*/\1/'
}
has_its_broker() {
	pvsched stat --json >/tmp/now
	echo "first $place, now $(victim_place /tmp/now)"
	[ -n "$place" ] && [ "$(victim_place /tmp/now)" = "$place" ]
}

# begins KIND
begins() {
	kind=$1
	echo "hostile $kind" >&3
	vmm_shows "guest_begins_$kind" 120 1 "^hostile $kind begins"
	pvsched stat --json >/tmp/base
	harm_ticks=$(ticks $hog0)
}
# counts KEY [REASON]: it names what this kind does, and does so while it does it
counts() {
	within "linux_hostile_${kind}_is_counted_by_$1${2:+_$2}" 60 rose "$vmm" "$@"
}
# ends: what must hold of each, then it does no more
ends() {
	pvsched stat $seconds 1 --json >/tmp/stat
	cp /tmp/stat "$LAB_OUT/$kind.json"
	figure "linux_hostile_${kind}_cpu_percent" "$(share)"
	expect "linux_hostile_${kind}_stays_within_its_bound" awk "BEGIN { exit !($(share) <= $most) }"
	within "linux_hostile_${kind}_leaves_the_victim_its_turns" 60 rose $victim sched_ins
	within "linux_hostile_${kind}_leaves_the_victim_its_time" 60 rose $victim run_ns
	expect "linux_hostile_${kind}_leaves_the_host_its_cpu" [ "$(ticks $hog0)" -gt "$harm_ticks" ]
	echo end >&3
	vmm_shows "guest_ends_$kind" 120 1 "^hostile $kind: [1-9][0-9]* rounds.* done"
	grep "^hostile $kind:" "$log" | sed 's/^/# /'
}

pvsched serve >/tmp/serve 2>&1 &
serve=$!
within broker_listens 200 pvsched list
log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 200 1 '^task waits'
pvsched run --cpus 1 --workload sleeping --json >/tmp/victim 2>&1 &
victim=$!
within victim_has_its_cpu 60 vcpu_on $victim 0 1
taskset 1 sh -c 'while :; do :; done' &
hog0=$!
taskset 2 sh -c 'while :; do :; done' &
hog1=$!
expect guest_has_its_first_cpu vcpu_on "$vmm" 0 0
expect guest_has_its_second_cpu vcpu_on "$vmm" 1 1

# what looks at it must not wait behind it
renice -n -10 $$ >/dev/null
# whatever is allocated once is, after the first
begins pages
counts bad_words
ends
before=$(rss $serve)
place=$(victim_place /tmp/base)
lines=$(wc -l </tmp/serve)

begins reserved
counts bad_words
ends
expect linux_hostile_reserved_bits_of_a_header_are_refused says ' BAD_HEADER [1-9]'
expect linux_hostile_reserved_bits_of_a_header_are_no_other_mistake says '; \(BAD_HEADER [0-9]*\|RATE [0-9]*\| \)*done$'
expect linux_hostile_reserved_bits_gain_nothing \
	[ $(($(more "$vmm" granted critical) + $(more "$vmm" granted task) + $(more "$vmm" granted pending))) = 0 ]
begins header
counts granted critical
ends
expect linux_hostile_header_rewritten_changes_nothing says ' 2 still,'
begins tickets
counts granted interrupt
counts expired
ends
expect linux_hostile_tickets_are_carried says ' tickets [1-9][0-9]* [1-9]'
begins critical
counts granted critical
counts expired
within linux_hostile_critical_for_ever_is_denied 60 denied
ends
begins bells
counts doorbells
ends
pvsched stat --json >/tmp/now
rings=$(grep -o '[0-9]* rings' "$log" | tail -n 1)
figure linux_hostile_bells_rung "${rings% *}"
figure linux_hostile_bells_heard "$(more "$vmm" doorbells)"
expect linux_hostile_bells_are_rung [ "${rings% *}" -gt 0 ]
# one, and eight more in each boost, of each vCPU
expect linux_hostile_bells_are_heard_in_boosts_only \
	[ "$(more "$vmm" doorbells)" -le $((9 * ($(more "$vmm" boosts) + 2))) ]
begins events
counts granted next_event
ends
begins registers
ends
begins resets
ends
expect linux_hostile_resets_are_counted says ' [1-9][0-9]* resets,'
expect linux_hostile_resets_between_have_pages says ' [1-9][0-9]* pages enabled'
begins gfns
ends
expect linux_hostile_gfns_of_nobody_are_refused says ' BAD_GFN [1-9]'
expect linux_hostile_gfns_of_others_are_refused says ' BAD_HEADER [1-9]'
begins twice
ends
expect linux_hostile_gfn_of_another_vcpu_is_refused says ' IN_USE [1-9]'
expect linux_hostile_gfn_of_another_vcpu_is_no_other_mistake says '; \(OK [0-9]*\|IN_USE [0-9]*\|RATE [0-9]*\| \)*done$'

grown=$(($(rss $serve) - before))
figure linux_hostile_broker_grown_kb $grown
if [ $grown -le 64 ]; then
	ok linux_hostile_broker_memory_does_not_grow
else
	not_ok linux_hostile_broker_memory_does_not_grow "by $grown kB"
fi
expect linux_hostile_nothing_is_said says_nothing
expect linux_hostile_the_victim_has_its_broker_all_the_while has_its_broker
echo off >&3
vmm_ended guest_powers_off
grep '^guest: its device' /tmp/said
for name in BAD_ACCESS BAD_STATUS BAD_GFN BAD_HEADER IN_USE RATE; do
	expect "linux_hostile_device_counts_$name" grep -q "^guest: its device refused.* $name [1-9]" /tmp/said
done
kill $victim $hog0 $hog1 $serve
wait $serve
