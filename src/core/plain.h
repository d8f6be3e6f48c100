/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Text of somebody else's, where it may reach a terminal. */
#ifndef PVSCHED_CORE_PLAIN_H
#define PVSCHED_CORE_PLAIN_H

/*
 * How many bytes at s a terminal would obey: 0, 1 (C0 controls, DEL), or 2: a C1 control in UTF-8, of which
 * U+009B is the same as ESC [ (ECMA-48, 5.4). s is not empty.
 */
static inline unsigned int pvsched_obeyed(const char *s)
{
	unsigned char c = s[0], next = s[1];

	if (c == 0xc2 && next >= 0x80 && next < 0xa0)
		return 2;
	return c < ' ' || c == 127;
}

/* Puts a question mark in the place of each such byte. */
static inline void pvsched_plain(char *s)
{
	for (unsigned int n; *s; s += n ? n : 1) {
		n = pvsched_obeyed(s);
		for (unsigned int i = 0; i < n; i++)
			s[i] = '?';
	}
}

#endif
