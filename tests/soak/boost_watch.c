// SPDX-License-Identifier: GPL-2.0-only
/*
 * boost_watch PROCESS FILE: for how long at most a vCPU thread of the process was boosted, seen from
 * outside; until the process ends, or FILE is there. Prints microseconds.
 */
#include <helpers/storm.h>

int main(int argc, char **argv)
{
	char pattern[64], name[32];
	unsigned int threads = 0;
	glob_t files = { 0 };
	struct watcher w;

	if (argc != 3)
		return 2;
	if (watcher_start(&w, -1))
		return 1;
	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/comm", atoi(argv[1]));
	glob(pattern, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		FILE *f = fopen(files.gl_pathv[i], "re");
		int pid, tid;

		if (f && fscanf(f, "%31s", name) == 1 && !strncmp(name, "vcpu", 4) &&
		    sscanf(files.gl_pathv[i], "/proc/%d/task/%d/", &pid, &tid) == 2 &&
		    threads < WATCH_THREADS)
			watcher_see(&w, threads++, tid);
		if (f)
			fclose(f);
	}
	globfree(&files);
	while (threads && !kill(atoi(argv[1]), 0) && access(argv[2], F_OK))
		bed_sleep_ms(20);
	watcher_stop(&w);
	printf("%.0f\n", __atomic_load_n(&w.longest_ns, __ATOMIC_RELAXED) / 1e3);
	return threads ? 0 : 1;
}
