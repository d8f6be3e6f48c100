// SPDX-License-Identifier: GPL-2.0-only
/*
 * The yardstick: what a program on sched_switch costs that does nothing.
 */
__attribute__((section("tp_btf/sched_switch"), used)) int bench_empty(void *ctx)
{
	return 0;
}

char LICENSE[] __attribute__((section("license"), used)) = "GPL";
