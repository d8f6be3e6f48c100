/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PVSCHED_JSON_UTF8_H
#define PVSCHED_JSON_UTF8_H

/*
 * Length of the UTF-8 sequence at s, which a 0 ends; 0 when there is none. Bounds by the Unicode
 * standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
static inline unsigned int json_utf8_length(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	unsigned int n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

#endif
