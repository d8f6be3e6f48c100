#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# tools/setup: a second run asks nobody, and a package of the list that is missing is asked for.
cd "$(dirname "$0")/../.." || exit 1
stubs=$(mktemp -d)
trap 'rm -rf "$stubs"' EXIT
failed=0

# check NAME CONDITION...
check() {
	name=$1
	shift
	if "$@"; then
		echo "ok $name"
	else
		echo "not ok $name: $(tail -n 2 "$stubs/said" | tr '\n' ' ')"
		failed=1
	fi
}

printf '#!/bin/sh\necho "$@" >>"%s/asked"\n' "$stubs" >"$stubs/apt-get"
chmod +x "$stubs/apt-get"

PATH=$stubs:$PATH tools/setup >"$stubs/said" 2>&1
check setup_where_nothing_is_missing_succeeds test $? = 0
check setup_where_nothing_is_missing_asks_nobody test ! -e "$stubs/asked"

if [ "$(id -u)" = 0 ]; then
	# one of the list is not there
	cat >"$stubs/dpkg-query" <<-END
		#!/bin/sh
		for name; do :; done
		[ "\$name" = clang-14 ] || echo installed
	END
	chmod +x "$stubs/dpkg-query"
	PATH=$stubs:$PATH tools/setup >"$stubs/said" 2>&1
	check setup_asks_for_what_is_missing_and_for_nothing_else \
		grep -Eq 'install --no-install-recommends clang-14$' "$stubs/asked"
else
	echo "skip setup_asks_for_what_is_missing_and_for_nothing_else: not root"
fi
exit $failed
