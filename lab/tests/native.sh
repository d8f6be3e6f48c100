# SPDX-License-Identifier: GPL-2.0-only
# The native tier's own programs, on this kernel: broker, library, VMM and guest under SVM KVM.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: short
# timeout: 200

export CMOCKA_MESSAGE_OUTPUT=TAP
for program in "$PVSCHED_BUILD"/tests/native/*; do
	name=${program##*/}
	case $name in
	*.p | *.so*) continue ;;
	broker_death | exit_cost) continue ;; # lab/tests/death.sh, exits.sh
	lib_example)
		echo "skip $name: builds a program against the install: there is no compiler here"
		continue
		;;
	esac
	start=$(cut -d. -f1 /proc/uptime)
	timeout -k 2 100 "$program" >"$LAB_OUT/$name.txt" 2>&1
	status=$?
	cat "$LAB_OUT/$name.txt"
	echo "# $name took $(($(cut -d. -f1 /proc/uptime) - start)) s"
	# A failed case has said so; a crash has not.
	if [ $status -gt 1 ] || ! grep -q '^ok' "$LAB_OUT/$name.txt"; then
		not_ok "${name}_ends_well" "exit status $status"
	fi
done
