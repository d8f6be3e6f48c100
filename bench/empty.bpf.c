// SPDX-License-Identifier: GPL-2.0-only
/*
 * The yardstick: what a program on sched_switch costs that does nothing; and one on sched_waking, for who
 * attaches both.
 */
__attribute__((section("tp_btf/sched_switch"), used)) int bench_empty(void *ctx)
{
	return 0;
}

__attribute__((section("tp_btf/sched_waking"), used)) int bench_empty_waking(void *ctx)
{
	return 0;
}

char LICENSE[] __attribute__((section("license"), used)) = "GPL";
