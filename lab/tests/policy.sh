# SPDX-License-Identifier: GPL-2.0-only
# Policies under a running VM by the operator's commands: one from outside is run and listed, others
# are swapped in, each serves by its own events, the kill switch stops all boosts, and what is
# refused leaves the old one in place. Debts over swaps: swap.sh.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# programs: bpftool
# timeout: 600

bad=$PVSCHED_BUILD/tests/native/policies

# serves POLICY: within a short time the VM has it
serves() {
	pvsched list | grep -q " $1 "
}

# more_boosts_than N
more_boosts_than() {
	now=$(vm_field boosts)
	[ "${now:-0}" -gt "$1" ]
}

# program NAME: is loaded; bpftool may know the first 15 bytes of it only
program() {
	bpftool prog show | grep -q "name $1"
}

pvsched run --cpus 2 --hogs 2 --workload busy --policy "$PVSCHED_BUILD/examples/audio.bpf.o" \
	>/tmp/run 2>&1 &
run=$!
within policy_of_a_file_is_run_and_listed 120 serves audio
vm=$(vm_field vm) # a list that asked while the broker began may have had place 0
pvsched list >"$LAB_OUT/list.txt"
expect policy_that_asks_for_no_exits_has_no_program_there sh -c \
	'! bpftool prog show | grep -E "name pvsched_(kvm_e|eoi|inj)"'

for policy in latency irq audio mirror vmexit; do
	what=$policy
	[ $policy != audio ] || what=$PVSCHED_BUILD/examples/audio.bpf.o
	expect "policy_is_swapped_to_$policy" pvsched policy "$vm" "$what"
	expect "policy_${policy}_is_listed" serves $policy
	before=$(vm_field boosts)
	case $policy in
	audio | mirror) ;; # the busy guest's task is an ordinary one
	*) within "policy_${policy}_boosts" 20 more_boosts_than $((${before:-0} + 5)) ;;
	esac
	[ $policy != vmexit ] || expect policy_vmexit_has_its_program_on_exits program pvsched_kvm_ex
done

# refused NAME WORDS POLICY: one line that has the words; the VM keeps its policy
refused() {
	name=$1 words=$2 policy=$3
	if pvsched policy "$vm" "$policy" >/tmp/out 2>&1; then
		not_ok "$name" "it was accepted"
	elif [ "$(wc -l </tmp/out)" = 1 ] && grep -q "$words.*the old one goes on" /tmp/out; then
		ok "$name"
	else
		not_ok "$name" "it said: $(head -n 2 /tmp/out)"
	fi
	expect "${name}_and_the_old_one_stays" serves vmexit
}
refused policy_that_the_verifier_refuses_is_told_of 'refuses it' "$bad/wild.bpf.o"
refused policy_of_another_version_is_told_of 'version 99' "$bad/wrong_abi.bpf.o"
refused policy_file_without_a_policy_is_told_of 'nothing.bpf.o' "$bad/nothing.bpf.o"
refused policy_that_nobody_knows_is_told_of 'nonsense' nonsense

# The kill switch while another policy is with the verifier, which holds nobody up and loses.
pvsched policy "$vm" "$PVSCHED_BUILD/examples/audio.bpf.o" >/tmp/late 2>&1 &
late=$!
usleep 300000
expect policy_all_off_is_accepted pvsched policy --all off
expect policy_all_off_is_listed serves off
wait $late || expect policy_that_was_being_loaded_is_told_of grep -q \
	'another policy was set meanwhile' /tmp/late
expect policy_all_off_holds_after_a_load serves off
boosts=$(vm_field boosts)
tids=$(ls /proc/$run/task)
for tid in $tids; do
	chrt=$(awk '{ print $41 }' /proc/$run/task/$tid/stat) # policy: 1 is SCHED_FIFO
	name=$(cat /proc/$run/task/$tid/comm)
	case $name in
	*vcpu*) expect "policy_off_leaves_${name##*/}_as_it_was" test "$chrt" = 0 ;;
	esac
done
expect policy_off_has_no_program_on_exits sh -c '! bpftool prog show | grep pvsched_kvm_ex'
usleep 1000000 # the guest takes a thousand interrupts beside two hogs
expect policy_off_boosts_nothing test "$(vm_field boosts)" = "$boosts"
expect policy_is_swapped_back_on pvsched policy "$vm" latency
within policy_latency_boosts_again 20 more_boosts_than "$boosts"
kill $run
wait $run
expect run_ends_well test $? = 0
cp /tmp/run "$LAB_OUT/run.txt" # what it said last, should it have ended before
