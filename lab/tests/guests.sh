# SPDX-License-Identifier: GPL-2.0-only
# The native tier's programs that boot guests, under this kernel's SVM KVM: reference VMM, bare-metal
# guest, refusals, the overlay over 4 KiB, transparent huge, file and hugetlb pages, interrupts of
# several VMs. What a machine without /dev/kvm skips is run here, in tsc.sh, exits.sh and stream.sh.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# short: 6.12
# timeout: 900

names=
for source in $(grep -l 'needs: /dev/kvm' /pvsched/tests/native/*.c); do
	name=${source##*/} name=${name%.c}
	case $name in
	exit_cost | host_tsc | ports | port_cost) ;; # exits.sh, tsc.sh, stream.sh, port-cost.sh
	*) names="$names $name" ;;
	esac
done
LAB_LIMIT=400
native_programs $names
# Refused, not skipped: this kernel has huge pages to spare.
expect hugetlb_was_tried grep -q '^ok overlay_over_huge_pages_of_hugetlb_is_refused' \
	"$LAB_OUT/lib_overlay.txt"
