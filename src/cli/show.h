/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How `pvsched run` shows a VM: words of the page decoded, as text and as JSON. Reads
 * snapshots; owns nothing.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "broker/broker.h"
#include "json/json.h"
#include "vmm/vmm.h"
#include "words.h"

struct show_vcpu {
	struct vmm_vcpu_info info;
	struct pvsched_vcpu_stats stats;
	bool has_report; /* the broker is in this process */
	struct pvsched_vcpu_report report;
};

void show_handshake(const struct vmm_guest_info *g, unsigned int vcpus, FILE *f);
void show_handshake_json(struct json *j, const struct vmm_guest_info *g);

/* Three lines a vCPU, each at most 80 columns. tsc_khz and now_tsc: the guest's. */
#define SHOW_VCPU_LINES 3
void show_vcpu(unsigned int index, const struct show_vcpu *v, uint64_t now_tsc, uint32_t tsc_khz,
	       const char *end, FILE *f);
/* One line a vCPU, for logs. */
void show_vcpu_line(double seconds, unsigned int index, const struct show_vcpu *v, FILE *f);
void show_vcpu_json(struct json *j, unsigned int index, const struct show_vcpu *v);

#endif
