#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Every C file that git knows is as `make format` leaves it.
cd "$(dirname "$0")/../.." || exit 1

# The tree may belong to another user than root; git is only asked for names.
files=$(git -c safe.directory="$PWD" ls-files '*.c' '*.h') || files=
if [ -z "$files" ]; then
	echo "not ok format_of_every_c_file_is_clean: git lists no C file"
	exit 1
fi
# Listed but deleted from the work tree is no business of this test.
present=$(for file in $files; do [ ! -e "$file" ] || echo "$file"; done)
# shellcheck disable=SC2086 # a list of words
if clang-format-14 --dry-run -Werror $present 2>&1; then
	echo "ok format_of_every_c_file_is_clean"
else
	echo "not ok format_of_every_c_file_is_clean: run 'make format'"
	exit 1
fi
