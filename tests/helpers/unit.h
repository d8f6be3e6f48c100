/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every cmocka program of tests/unit includes, in the order cmocka wants. tests/run sets
 * CMOCKA_MESSAGE_OUTPUT=TAP, so that each case counts as one.
 */
#ifndef PVSCHED_TESTS_UNIT_H
#define PVSCHED_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
