/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a context switch costs, by the kernel's BPF run-time statistics: two threads that only switch to
 * each other, and the program on sched_switch before and after.
 */
#ifndef PVSCHED_TESTS_SWITCHES_H
#define PVSCHED_TESTS_SWITCHES_H

#include <bpf/bpf.h>
#include <sys/eventfd.h>

#ifndef SWITCHES
#define SWITCHES 40000 /* of the two threads */
#endif

/* One thread's half: on one CPU, each turn is a switch. Whoever writes to `in` first begins. */
static inline void volley(int in, int out)
{
	eventfd_t n;

	for (int i = 0; i < SWITCHES / 2; i++) {
		eventfd_read(in, &n);
		eventfd_write(out, 1);
	}
}

/* The program on sched_switch, by its name's first 15 letters. */
static inline void read_switch(uint64_t *ret_runs, uint64_t *ret_ns)
{
	struct bpf_prog_info info;
	__u32 id = 0, size;
	int fd;

	*ret_runs = *ret_ns = 0;
	while (!bpf_prog_get_next_id(id, &id)) {
		fd = bpf_prog_get_fd_by_id(id);
		size = sizeof(info);
		memset(&info, 0, sizeof(info));
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) &&
		    !strcmp(info.name, "pvsched_sched_s") && info.run_cnt > *ret_runs) {
			*ret_runs = info.run_cnt;
			*ret_ns = info.run_time_ns;
		}
		if (fd >= 0)
			close(fd);
	}
}

#endif
