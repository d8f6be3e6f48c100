# SPDX-License-Identifier: GPL-2.0-only
# The stream's port under KVM: a VMM that is found, its guest's frames and pages, the lease, who is refused.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# short: 6.12
# timeout: 300

LAB_LIMIT=240 native_programs ports
# Shared, not skipped: this kernel has huge pages to spare.
expect hugetlb_was_tried grep -q '^ok .*stream_page_in_huge_pages_of_hugetlb_is_shared$' \
	"$LAB_OUT/ports.txt"
