// SPDX-License-Identifier: GPL-2.0-only
/* Names out of command lines, see vmname.h. */
#include "vmname.h"

#include <string.h>

#include "core/plain.h"

/* QEMU's option syntax: a comma ends the value, two of them are one that belongs to it. */
static size_t value(const char *from, size_t len, char *to, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (from[i] == ',') {
			if (i + 1 == len || from[i + 1] != ',')
				break;
			i++;
		}
		if (n + 1 < size)
			to[n++] = from[i];
	}
	to[n] = 0;
	pvsched_plain(to);
	return n;
}

/* The part behind guest= of "debug-threads=on,guest=NAME", or all when it begins with the name. */
static const char *guest(const char *text, size_t len, size_t *ret_len)
{
	static const char key[] = "guest=";
	const size_t n = sizeof(key) - 1;
	const char *comma = memchr(text, ',', len);

	*ret_len = len;
	if (!memchr(text, '=', comma ? (size_t)(comma - text) : len))
		return text;
	for (const char *at = text, *end = text + len; at && (size_t)(end - at) > n;) {
		if (!memcmp(at, key, n)) {
			*ret_len = end - at - n;
			return at + n;
		}
		at = memchr(at, ',', end - at);
		at = at ? at + 1 : NULL;
	}
	return NULL;
}

bool pvsched_vm_name(const char *cmdline, size_t len, char *ret_name, size_t size)
{
	static const char *const options[] = { "-name", "--name", "--id" };
	const char *at = cmdline, *end = cmdline + len, *next;
	bool wanted = false, is_qemu = false;
	char name[256];

	for (; at < end; at = next + 1) {
		size_t n = strnlen(at, end - at);

		next = at + n;
		if (wanted) {
			const char *text = is_qemu ? guest(at, n, &n) : at;

			/* cut off: the name may be, too */
			if (!text || next == end || !value(text, n, name, sizeof(name)))
				return false;
			strncpy(ret_name, name, size - 1);
			ret_name[size - 1] = 0;
			return true;
		}
		for (size_t i = 0; i < sizeof(options) / sizeof(*options) && at != cmdline; i++)
			if (n == strlen(options[i]) && !memcmp(at, options[i], n)) {
				wanted = true;
				is_qemu = i < 2;
			}
	}
	return false;
}
