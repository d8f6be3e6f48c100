// SPDX-License-Identifier: GPL-2.0-only
/*
 * Facts of the machine, read from /proc and /sys. No state.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "version.h"

int bench_read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[1024];
	int err = 0;

	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f)) {
		err = ferror(f) ? -EIO : -ENODATA;
	} else {
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, size, "%s", line);
	}
	fclose(f);
	return err;
}

static void read_cpu_model(char *buf, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[512], *value;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		value = strchr(line, ':');
		if (!value || strncmp(line, "model name", 10))
			continue;
		value[strcspn(value, "\n")] = '\0';
		snprintf(buf, size, "%s", value + 1 + strspn(value + 1, " \t"));
		break;
	}
	fclose(f);
}

static long read_long(const char *path, long missing)
{
	char line[64];

	return bench_read_line(path, line, sizeof(line)) ? missing : strtol(line, NULL, 10);
}

/* The kernel names its preemption model in the version string ("#1 SMP PREEMPT_DYNAMIC ..."). */
static void read_preempt(const char *version, char *buf, size_t size)
{
	const char *p = strstr(version, "PREEMPT");

	snprintf(buf, size, "%.*s", p ? (int)strcspn(p, " ") : 12, p ? p : "no PREEMPT*");
}

void bench_machine_read(struct bench_machine *m)
{
	time_t now = time(NULL);
	struct utsname u;
	struct tm tm;
	char *p;

	memset(m, 0, sizeof(*m));
	m->cpu_measured = -1;
	m->steal = -1;
	if (!uname(&u)) {
		snprintf(m->kernel, sizeof(m->kernel), "%.48s %.70s", u.sysname, u.release);
		read_preempt(u.version, m->preempt, sizeof(m->preempt));
	}
	read_cpu_model(m->cpu, sizeof(m->cpu));
	bench_read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
			m->clocksource, sizeof(m->clocksource));
	if (gmtime_r(&now, &tm))
		strftime(m->date, sizeof(m->date), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!bench_read_line("/proc/loadavg", m->loadavg, sizeof(m->loadavg))) {
		p = m->loadavg;
		/* three averages; the rest counts tasks */
		p += strcspn(p, " ");
		p += *p ? 1 + strcspn(p + 1, " ") : 0;
		p += *p ? 1 + strcspn(p + 1, " ") : 0;
		*p = '\0';
	}
	snprintf(m->commit, sizeof(m->commit), "%s", PVSCHED_COMMIT);
	m->cpus = sysconf(_SC_NPROCESSORS_ONLN);
	m->autogroup = read_long("/proc/sys/kernel/sched_autogroup_enabled", 0) > 0;
	m->rt_runtime_us = read_long("/proc/sys/kernel/sched_rt_runtime_us", -1);
	m->rt_period_us = read_long("/proc/sys/kernel/sched_rt_period_us", -1);
}

void bench_ticks_read(struct bench_ticks *t)
{
	unsigned long long v[8] = { 0 };
	char line[256];
	int i, n;

	memset(t, 0, sizeof(*t));
	if (bench_read_line("/proc/stat", line, sizeof(line)))
		return;
	n = sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
		   &v[4], &v[5], &v[6], &v[7]);
	if (n != 8)
		return;
	for (i = 0; i < 8; i++)
		t->all += v[i];
	t->steal = v[7];
	t->valid = 1;
}

double bench_steal(const struct bench_ticks *from, const struct bench_ticks *to)
{
	if (!from->valid || !to->valid || to->all <= from->all || to->steal < from->steal)
		return -1;
	return (double)(to->steal - from->steal) / (double)(to->all - from->all);
}
