#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# systemd takes each of our units as it is installed: no unknown section, key or value.
cd "$(dirname "$0")/../.." || exit 1

failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

for template in data/*.service; do
	unit=${template##*/}
	name=unit_$(echo "${unit%.service}" | tr - _)_is_what_systemd_takes
	if ! command -v systemd-analyze >/dev/null; then
		echo "skip $name: no systemd-analyze here"
		continue
	fi
	mkdir -p "$dir/bin"
	program=$(sed -n 's/^ExecStart=@bindir@\/\([^ ]*\).*/\1/p' "$template")
	printf '#!/bin/sh\n' >"$dir/bin/$program"
	chmod +x "$dir/bin/$program"
	sed "s|@bindir@|$dir/bin|" "$template" >"$dir/$unit"
	# what it says of other units on this system is not ours
	said=$(SYSTEMD_UNIT_PATH=$dir: systemd-analyze verify --man=no --recursive-errors=no "$dir/$unit" 2>&1)
	status=$?
	said=$(echo "$said" | grep "$unit\|^Failed")
	if [ -z "$said" ] && [ $status = 0 ]; then
		echo "ok $name"
	else
		failed=1
		echo "not ok $name: $(echo "${said:-exit status $status}" | head -n 1)"
	fi
done
exit $failed
