# SPDX-License-Identifier: GPL-2.0-only
# The native tier's own programs, on this kernel: broker, library, policies, with threads for vCPUs.
# Those that boot guests are in guests.sh, of their own are death.sh, swap.sh and exits.sh.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# timeout: 1800

names=
for source in /pvsched/tests/native/*.c; do
	name=${source##*/} name=${name%.c}
	case $name in
	broker_death | policy_swap | serve_scale) continue ;; # death.sh, swap.sh, serve-scale.sh
	kmod | kmod_policy) continue ;; # kmod.sh, kmod-policy.sh
	theft_bound | host_harm | hostile_guest | kill_storm | publish_cost | publish_words) continue ;; # tests of their own
	lib_example)
		echo "skip $name: builds a program against the install: there is no compiler here"
		continue
		;;
	esac
	grep -q 'needs: /dev/kvm' "$source" || names="$names $name"
done
LAB_LIMIT=600
native_programs $names
