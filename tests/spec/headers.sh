#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The public headers compile alone: the wire also as C99, C++ and for BPF, a policy's view for
# BPF and user space, the library's also as C++.
cd "$(dirname "$0")/../.." || exit 1
failed=0

# NAME HEADER COMPILER...: one case
compiles() {
	name=$1 header=$2
	shift 2
	if printf '#include <pvsched/%s>\n' "$header" |
		"$@" -Wall -Wextra -Werror -pedantic -Iinclude -fsyntax-only -; then
		echo "ok $name"
	else
		echo "not ok $name: $*"
		failed=1
	fi
}

# Debian keeps asm/types.h where only the native target looks.
multiarch=$(gcc -print-multiarch)
compiles header_abi_alone_is_c99 abi.h gcc -std=c99 -x c
compiles header_abi_alone_is_cxx abi.h g++ -std=c++11 -x c++
compiles header_abi_alone_is_bpf abi.h clang-14 -target bpf -I"/usr/include/$multiarch" \
	-std=gnu11 -x c
compiles header_policy_alone_is_c11 policy.h gcc -std=gnu11 -x c
compiles header_policy_alone_is_bpf policy.h clang-14 -target bpf \
	-I"/usr/include/$multiarch" -std=gnu11 -x c
compiles header_library_alone_is_c11 pvsched.h gcc -std=gnu11 -x c
compiles header_library_alone_is_cxx pvsched.h g++ -std=c++11 -x c++
exit "$failed"
