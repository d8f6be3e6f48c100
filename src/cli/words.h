/* SPDX-License-Identifier: GPL-2.0-only */
/* Words of the page as text, for both sides' commands. buf is the caller's and what is returned. */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "json/json.h"

/* "FIFO"; of SCHED_* numbers. */
const char *show_policy(unsigned int policy);
/* "FIFO 10", "NORMAL nice -5, latency". The word was written by a guest: validated first. */
const char *show_task(uint64_t word, char *buf, size_t size);
/* "critical section, softirq"; "" when no bit is set. */
const char *show_context(uint64_t word, char *buf, size_t size);
/* "FIFO 1: critical": what the thread runs as, and why. */
const char *show_grant(uint64_t word, char *buf, size_t size);
const char *show_state(uint64_t word);
/* "placement": { core, llc, node }; 0 = not told. */
void show_placement_json(struct json *j, uint64_t word);

#endif
