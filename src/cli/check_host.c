// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host's KVM, BPF and scheduler settings allow, read from the kernel's own files and
 * asked of /dev/kvm and of a child. No state; nothing is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvsched/abi.h>

#include "broker/cpus.h"
#include "check.h"
#include "machine.h"
#include "privilege/caps.h"
#include "vmm/vmm.h"

void check_add(struct check_list *l, const char *section, const char *name, enum check_state state,
	       const char *format, ...)
{
	struct check_row *row;
	va_list args;

	if (l->n == CHECK_ROWS_MAX)
		return;
	row = &l->row[l->n++];
	row->section = section;
	row->state = state;
	snprintf(row->name, sizeof(row->name), "%s", name);
	va_start(args, format);
	vsnprintf(row->text, sizeof(row->text), format, args);
	va_end(args);
}

void check_kvm(struct check_list *l)
{
	static const struct {
		const char *name;
		int cap;
		bool needed;
		const char *without;
	} caps[] = {
		{ "irqchip", KVM_CAP_IRQCHIP, true, "in-kernel interrupt controller" },
		{ "TSC deadline timer", KVM_CAP_TSC_DEADLINE_TIMER, true, "guest timer" },
		{ "signal MSI", KVM_CAP_SIGNAL_MSI, true, "interrupts from the VMM" },
		{ "ioeventfd", KVM_CAP_IOEVENTFD, false, "doorbells without a user-space exit" },
		{ "immediate exit", KVM_CAP_IMMEDIATE_EXIT, true, "stopping a vCPU" },
		{ "read-only slots", KVM_CAP_READONLY_MEM, false, "only tests need it" },
	};
	static const char section[] = "KVM";
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), version;
	unsigned int i;

	if (fd < 0) {
		check_add(l, section, "/dev/kvm", CHECK_NO, "%s", vmm_kvm_why(errno));
		return;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	check_add(l, section, "/dev/kvm", version == 12 ? CHECK_OK : CHECK_NO, "API version %d",
		  version);
	if (!access("/sys/module/kvm_intel", F_OK))
		check_add(l, section, "hardware", CHECK_OK, "VMX (kvm_intel)");
	else if (!access("/sys/module/kvm_amd", F_OK))
		check_add(l, section, "hardware", CHECK_OK, "SVM (kvm_amd)");
	else
		check_add(
			l, section, "hardware", CHECK_NOTE,
			"neither kvm_intel nor kvm_amd: a KVM of another kind, its exits may cost "
			"more and some of its tracepoints may never fire");
	for (i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, caps[i].cap) > 0)
			check_add(l, section, caps[i].name, CHECK_OK, "%s", caps[i].without);
		else
			check_add(l, section, caps[i].name, caps[i].needed ? CHECK_NO : CHECK_LIMIT,
				  "missing: %s", caps[i].without);
	}
	close(fd);
}

static unsigned long long effective_caps(void)
{
	unsigned long long caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	fclose(f);
	return caps;
}

#define SWAP "policies can be swapped"

/* What guests lose whose VMM is no client and that speak over a virtio-serial port: docs/limits.md. */
void check_stream(struct check_list *l)
{
	static const char section[] = "Stock QEMU";
	char line[64];

	if (!bench_read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line)) &&
	    !strcmp(line, "3"))
		check_add(
			l, section, "guests' pages", CHECK_LIMIT,
			"kernel.yama.ptrace_scope is 3: nobody may reach them: guests are served by "
			"what the host sees");
	else
		check_add(l, section, "guests' pages", CHECK_OK,
			  "in QEMU's memory, where its guest has the port " PVSCHED_STREAM_PORT);
	check_add(l, section, "guest's words", CHECK_LIMIT,
		  "known when a vCPU leaves its CPU; a page that is mapped is seen at once");
	check_add(l, section, "host's words", CHECK_LIMIT,
		  "10 ms late, and 100 wake-ups a second while a page is enabled");
	check_add(l, section, "end of a boost", CHECK_LIMIT,
		  "by its expiry, or when the vCPU leaves its CPU: doorbell and ack come too late");
}

void check_bpf(struct check_list *l)
{
	static const struct {
		const char *name;
		int bit;
		const char *use, *kept; /* by a broker that serves, see privilege/caps.h */
	} caps[] = {
		{ "CAP_BPF", CAP_BPF, "to load programs and make maps",
		  "kept: new vCPUs get maps" },
		{ "CAP_PERFMON", CAP_PERFMON, "to attach them to tracepoints", "kept: " SWAP },
		{ "CAP_SYSLOG", CAP_SYSLOG, "to find KVM's timer function", "kept: " SWAP },
		{ "CAP_SYS_NICE", CAP_SYS_NICE, "to change a vCPU thread's scheduling",
		  "kept: all that agents and guardian have" },
		{ "CAP_SYS_ADMIN", CAP_SYS_ADMIN, "to look up types of the kvm module",
		  "kept out of force: " SWAP },
		{ "CAP_SYS_PTRACE", CAP_SYS_PTRACE, "to reach pages of guests of stock QEMU",
		  "kept: by the thread that serves" },
		{ "CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE, "to open them where another user runs QEMU",
		  "kept out of force: by the thread that serves" },
	};
	static const char section[] = "BPF";
	unsigned long long have = effective_caps();
	unsigned int i;
	char line[64];
	struct stat st;

	if (stat("/sys/kernel/btf/vmlinux", &st) < 0)
		check_add(l, section, "BTF", CHECK_NO,
			  "/sys/kernel/btf/vmlinux: %s: needs a kernel with CONFIG_DEBUG_INFO_BTF",
			  strerror(errno));
	else if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		check_add(l, section, "BTF", CHECK_NO, "/sys/kernel/btf/vmlinux: %s: run as root",
			  strerror(errno));
	else
		check_add(l, section, "BTF", CHECK_OK, "of the kernel, %lld KiB%s",
			  (long long)st.st_size / 1024,
			  access("/sys/kernel/btf/kvm", F_OK) ? "; kvm is built in or not loaded"
							      : ", and of the kvm module");
	for (i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		/* built in, its types are the kernel's own */
		if (caps[i].bit == CAP_SYS_ADMIN && access("/sys/kernel/btf/kvm", F_OK))
			continue;
		/* CAP_SYS_ADMIN contained these two before Linux 5.8 and still implies them */
		if (have >> caps[i].bit & 1 ||
		    ((caps[i].bit == CAP_BPF || caps[i].bit == CAP_PERFMON) &&
		     have >> CAP_SYS_ADMIN & 1))
			check_add(l, section, caps[i].name, CHECK_OK, "%s; %s", caps[i].use,
				  caps[i].kept);
		else if (PVSCHED_CAPS_MEMORY >> caps[i].bit & 1)
			check_add(l, section, caps[i].name, CHECK_LIMIT,
				  "missing %s: they are served by what the host sees", caps[i].use);
		else
			check_add(l, section, caps[i].name, CHECK_NO,
				  "missing %s: the broker needs it (a VMM needs none): run as root",
				  caps[i].use);
	}
	if (!bench_read_line("/proc/sys/net/core/bpf_jit_enable", line, sizeof(line)) &&
	    !strcmp(line, "0"))
		check_add(l, section, "JIT", CHECK_LIMIT,
			  "off: programs are interpreted: set net.core.bpf_jit_enable to 1");
	if (!bench_read_line("/sys/kernel/security/lockdown", line, sizeof(line))) {
		if (strstr(line, "[confidentiality]"))
			check_add(
				l, section, "lockdown", CHECK_NO,
				"confidentiality: BPF may not read kernel memory: boot without it");
		else
			check_add(l, section, "lockdown", CHECK_OK, "%s: nothing that is needed",
				  strstr(line, "[integrity]") ? "integrity" : "none");
	}
}

/* The value of the line that starts with key in /proc/self/status. */
static void read_status(const char *key, char *buf, size_t size)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[1024];

	buf[0] = '\0';
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, size, "%s", line + strlen(key) + strspn(line + strlen(key), " \t"));
	}
	fclose(f);
}

/* Of the kernel's two lists: the second may name CPUs that are offline, or were never there. */
static bool are_allowed(const char *online, const char *allowed)
{
	cpu_set_t offline, barred, both;

	memset(&offline, 0xff, sizeof(offline));
	barred = offline;
	pvsched_cpus_remove(&offline, online);
	pvsched_cpus_remove(&barred, allowed);
	CPU_AND(&both, &offline, &barred);
	return CPU_EQUAL(&both, &barred);
}

static void check_cpus(struct check_list *l, const char *section)
{
	char online[128] = "", allowed[128], line[128] = "";

	bench_read_line("/sys/devices/system/cpu/online", online, sizeof(online));
	read_status("Cpus_allowed_list:", allowed, sizeof(allowed));
	if (are_allowed(online, allowed))
		check_add(l, section, "CPUs", CHECK_OK, "%s, all allowed", online);
	else
		check_add(l, section, "CPUs", CHECK_LIMIT,
			  "%s of %s are allowed here (cpuset, taskset): agents run on these only; "
			  "vCPUs elsewhere are boosted from the first of them, later",
			  allowed, online);
	if (!bench_read_line("/sys/devices/system/cpu/isolated", line, sizeof(line)) && *line)
		check_add(l, section, "isolated CPUs", CHECK_NOTE,
			  "%s: no agent runs there: a vCPU that does not have one for itself is "
			  "boosted from another CPU, later",
			  line);
	line[0] = '\0';
	if (!bench_read_line("/sys/devices/system/cpu/nohz_full", line, sizeof(line)) && *line &&
	    strcmp(line, "(null)"))
		check_add(l, section, "nohz_full CPUs", CHECK_NOTE,
			  "%s: no agent runs there, as on isolated ones", line);
}

static void check_realtime(struct check_list *l, const char *section)
{
	char runtime[32] = "", period[32] = "", line[32] = "";

	if (!bench_read_line("/sys/kernel/realtime", line, sizeof(line)) && !strcmp(line, "1"))
		check_add(l, section, "PREEMPT_RT", CHECK_LIMIT,
			  "on: not tested there; an interrupt may be seen later");
	else
		check_add(l, section, "PREEMPT_RT", CHECK_OK, "off");
	if (bench_read_line("/proc/sys/kernel/sched_rt_runtime_us", runtime, sizeof(runtime)) ||
	    bench_read_line("/proc/sys/kernel/sched_rt_period_us", period, sizeof(period)))
		check_add(l, section, "RT throttling", CHECK_NOTE, "cannot be read");
	else if (!strcmp(runtime, "0"))
		check_add(
			l, section, "RT throttling", CHECK_NO,
			"kernel.sched_rt_runtime_us is 0: no SCHED_FIFO at all: set it to 950000");
	else if (!strcmp(runtime, "-1"))
		check_add(l, section, "RT throttling", CHECK_NOTE,
			  "off: nothing but pvsched's own budget bounds a boost");
	else
		check_add(l, section, "RT throttling", CHECK_OK,
			  "%s of %s us: above what boosts may take", runtime, period);
}

/* Own path in the hierarchy that has `controller` (v1), or in the unified one ("" ). */
static int own_cgroup(const char *controller, char *buf, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[4096], *name, *path, *one, *save;
	int err = -ENOENT;

	if (!f)
		return -errno;
	while (err && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		name = strchr(line, ':');
		path = name ? strchr(name + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		name++;
		if (!*controller && !*name)
			err = 0;
		for (one = strtok_r(name, ",", &save); one && *controller;
		     one = strtok_r(NULL, ",", &save))
			if (!strcmp(one, controller))
				err = 0;
		if (!err)
			snprintf(buf, size, "%s", strcmp(path, "/") ? path : "");
	}
	fclose(f);
	return err;
}

/* A quota of any group above holds, too. The host's root has none; that of a container may. */
static bool check_quota(struct check_list *l, const char *section, const char *root,
			const char *group, const char *name)
{
	char path[2048], file[2200], line[64], *slash;
	bool found = false;

	snprintf(path, sizeof(path), "%s", group);
	for (;;) {
		snprintf(file, sizeof(file), "%s%s/%s", root, path, name);
		/* none: max in v2, -1 in v1 */
		if (!bench_read_line(file, line, sizeof(line)) && *line >= '1' && *line <= '9') {
			check_add(l, section, name, CHECK_LIMIT,
				  "%.380s: %s us: ordinary time of threads in it is limited; a "
				  "vCPU in it is boosted by nice, which it charges",
				  file, line);
			found = true;
		}
		slash = strrchr(path, '/');
		if (!slash)
			return found;
		*slash = '\0';
	}
}

/*
 * Where no cgroup v1 tells: in v2 there is no file for it, and a group other than the root has no
 * real-time time if the kernel has it at all (kernel: tg_rt_schedulable(), __sched_setscheduler()).
 * Tried, in a child.
 */
static void check_rt_group(struct check_list *l, const char *section)
{
	struct sched_param fifo = { .sched_priority = 1 };
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(sched_setscheduler(0, SCHED_FIFO, &fifo) ? errno : 0);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		check_add(l, section, "RT group scheduling", CHECK_NOTE, "not known: fork: %s",
			  strerror(errno));
	else if (!WEXITSTATUS(status))
		check_add(l, section, "RT group scheduling", CHECK_OK,
			  "off, or this group has real-time time");
	else if (geteuid())
		check_add(l, section, "RT group scheduling", CHECK_NOTE, "not known: %s: not root",
			  strerror(WEXITSTATUS(status)));
	else
		check_add(l, section, "RT group scheduling", CHECK_NOTE,
			  "real-time scheduling: %s: this group has no time for it, or "
			  "CAP_SYS_NICE lacks; a vCPU of such a group is boosted by nice instead",
			  strerror(WEXITSTATUS(status)));
}

static void check_cgroups(struct check_list *l, const char *section)
{
	char group[2048], file[2200], line[64];
	bool found = false;

	if (!own_cgroup("", group, sizeof(group)))
		found = check_quota(l, section, "/sys/fs/cgroup", group, "cpu.max");
	if (!own_cgroup("cpu", group, sizeof(group))) {
		found |= check_quota(l, section, "/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us");
		snprintf(file, sizeof(file), "/sys/fs/cgroup/cpu%s/cpu.rt_runtime_us", group);
		if (!bench_read_line(file, line, sizeof(line)))
			check_add(l, section, "RT group scheduling",
				  atol(line) ? CHECK_NOTE : CHECK_NO,
				  atol(line)
					  ? "on, this group has %s us; a vCPU whose group has 0 is "
					    "boosted by nice instead"
					  : "on, and this group has %s us: give it some in "
					    "cpu.rt_runtime_us",
				  line);
		else
			check_add(l, section, "RT group scheduling", CHECK_OK, "off");
	} else {
		check_rt_group(l, section);
	}
	if (!found)
		check_add(
			l, section, "CPU quota", CHECK_OK,
			"none on this process; a vCPU under one is boosted by nice, which it charges");
}

void check_limits(struct check_list *l)
{
	static const char section[] = "Limits";
	char line[32];

	check_cpus(l, section);
	check_realtime(l, section);
	check_cgroups(l, section);
	if (!bench_read_line("/proc/sys/kernel/sched_autogroup_enabled", line, sizeof(line)) &&
	    !strcmp(line, "1"))
		check_add(
			l, section, "autogroup", CHECK_NOTE,
			"on: nice acts among the threads of one session only; boosts do not care");
}
