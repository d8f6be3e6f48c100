// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an embedder does: installs into an empty place, builds examples/vmm there with nothing of
 * the source tree but a copy of that directory, and runs it against a broker. Needs root.
 * timeout: 180
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <broker/broker.h>

#define BROKER_WAIT_S 60 /* for the end of another broker on this host */

static char dir[] = "/tmp/pvsched-example-XXXXXX";
static bool any_failed;

/* In sh, in $D, the test's directory, with $S the staged root below it, $PC the libpvsched.pc and
 * $PREFIX the prefix there, and $SOURCE the source tree. Returns the exit status. */
static int sh(const char *script)
{
	static const char head[] =
		"set -e; cd $D; S=$D/root; PC=$(find $S -name libpvsched.pc 2>/dev/null || :); "
		"PREFIX=$S$(sed -n s/^prefix=//p /dev/null $PC); "
		"export LD_LIBRARY_PATH=$(dirname $(find $S -name libpvsched.so.1 2>/dev/null || "
		"echo .)); ";
	char *line;
	int status;

	fflush(stdout);
	if (asprintf(&line, "%s%s", head, script) < 0)
		return -1;
	status = system(line);
	free(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool report(const char *name, bool ok)
{
	printf(ok ? "ok %s\n" : "not ok %s: see above\n", name);
	any_failed = any_failed || !ok;
	return ok;
}

/* A case that boots a guest. */
static void guest_runs(const char *name, const char *script)
{
	if (access("/dev/kvm", F_OK))
		printf("skip %s: this machine has no /dev/kvm\n", name);
	else
		report(name, !sh(script));
}

static bool staged(void)
{
	return report(
		"install_into_an_empty_place_is_complete",
		!sh("meson install -C $PVSCHED_BUILD --no-rebuild --quiet --destdir $S; "
		    "PC=$(find $S -name libpvsched.pc); PREFIX=$S$(sed -n s/^prefix=//p $PC); "
		    "ls $PREFIX/include/pvsched/pvsched.h $PREFIX/include/pvsched/abi.h "
		    "$PREFIX/include/pvsched/policy.h $PREFIX/share/pvsched/baremetal.bin "
		    "$PREFIX/share/pvsched/guestabi.h; "
		    "find $S -name libpvsched.a | grep -q .; "
		    "find $S -name libpvsched.so.1 | grep -q .; "
		    "! grep -r \"$S\" $PC"));
}

static bool built(void)
{
	return report("example_outside_the_tree_builds",
		      !sh("cp -r $SOURCE/examples/vmm vmm-copy; "
			  "env PKG_CONFIG_PATH=$(dirname $PC) "
			  "make -s -C vmm-copy clean vmm "
			  "PKG_CONFIG=\"pkg-config --define-variable=prefix=$PREFIX\""));
}

static void print(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)level, (void)ctx;
	printf("# broker: %s\n", line);
}

/* Only one broker runs on a host: one that is there is waited for. */
static int start_broker(struct pvsched_broker **ret)
{
	const struct timespec second = { .tv_sec = 1 };
	struct pvsched_broker_opts opts = { .socket = getenv("PVSCHED_SOCKET"), .print = print };
	int err = -EEXIST;

	for (int i = 0; i < BROKER_WAIT_S && err == -EEXIST; i++) {
		if (i)
			nanosleep(&second, NULL);
		err = pvsched_broker__start(&opts, ret);
	}
	return err;
}

/* examples/policy, of the installed headers alone, by the installed command. */
static void policy_from_outside(void)
{
	if (!report("policy_outside_the_tree_builds",
		    !sh("cp -r $SOURCE/examples/policy policy-copy; "
			"env PKG_CONFIG_PATH=$(dirname $PC) make -s -C policy-copy clean all "
			"PKG_CONFIG=\"pkg-config --define-variable=prefix=$PREFIX\"")))
		return;
	guest_runs("policy_outside_the_tree_is_run_and_listed",
		   "$PREFIX/bin/pvsched run --seconds 60 --hogs 1 --policy policy-copy/audio.bpf.o "
		   ">run.out 2>&1 & run=$!; listed=1; "
		   "for i in $(seq 100); do "
		   "$PREFIX/bin/pvsched list >list.out 2>&1 && grep -q audio list.out && "
		   "listed=0 && break; kill -0 $run || break; sleep 0.2; done; "
		   "kill $run || :; wait $run || :; cat run.out list.out; exit $listed");
	report("policy_of_another_version_is_refused_in_a_line",
	       !sh("cp -r policy-copy wrong; sed -i 's/^#include.*/&\\n#undef PVSCHED_POLICY_ABI\\n"
		   "#define PVSCHED_POLICY_ABI 99/' wrong/audio.c; "
		   "env PKG_CONFIG_PATH=$(dirname $PC) make -s -C wrong clean all "
		   "PKG_CONFIG=\"pkg-config --define-variable=prefix=$PREFIX\"; "
		   "if $PREFIX/bin/pvsched run --seconds 1 --policy wrong/audio.bpf.o >out 2>&1; "
		   "then false; fi; cat out; test $(wc -l <out) = 1; grep -q 99 out"));
}

int main(void)
{
	struct pvsched_broker *broker;
	char socket[64], source[4096];
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* as tests/run starts it: in the source tree */
	if (!getenv("PVSCHED_BUILD") || !getcwd(source, sizeof(source)) || !mkdtemp(dir)) {
		printf("# needs PVSCHED_BUILD, a current directory and /tmp: %s\n",
		       strerror(errno));
		return 1;
	}
	snprintf(socket, sizeof(socket), "%s/sock", dir);
	setenv("D", dir, 1);
	setenv("SOURCE", source, 1);
	setenv("PVSCHED_SOCKET", socket, 1);
	if (!staged() || !built())
		goto out;
	guest_runs("example_without_a_broker_says_so",
		   "if vmm-copy/vmm 1 >out 2>&1; then false; fi; cat out; "
		   "grep -q 'no broker' out && test $(wc -l <out) = 1");
	err = start_broker(&broker);
	if (!report("broker_starts", !err))
		goto out;
	/* PVSCHED_PAGE_ENABLED is 2: the guest went through the whole handshake */
	guest_runs("example_runs_the_guest_under_the_broker",
		   "vmm-copy/vmm 3 >out 2>&1; cat out; test $(grep -c '^page 2: ' out) = 3");
	pvsched_broker__stop(broker);
	policy_from_outside();
out:
	sh("cd /; rm -rf $D");
	return any_failed;
}
