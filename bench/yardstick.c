// SPDX-License-Identifier: GPL-2.0-only
/*
 * The yardstick, alone: attaches the empty program to sched_switch until it is ended. Static, for
 * guests without anything else; lab/tests/linux-overhead.sh compares publishing with it.
 */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <unistd.h>

extern const unsigned char bench_empty_bpf[];
extern const size_t bench_empty_bpf_size;

int main(void)
{
	struct bpf_object *obj = bpf_object__open_mem(bench_empty_bpf, bench_empty_bpf_size, NULL);

	if (!obj || bpf_object__load(obj) ||
	    !bpf_program__attach(bpf_object__next_program(obj, NULL))) {
		perror("attach an empty program");
		return 1;
	}
	printf("attached\n");
	fflush(stdout);
	pause();
	return 0;
}
