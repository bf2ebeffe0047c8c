/* SPDX-License-Identifier: Apache-2.0
 * Libraries in C take `char *` for text that they only read. The cast that -Wcast-qual forbids is made here
 * and nowhere else. */
#ifndef COCOON_SNAPSHOTTER_TEXT_H
#define COCOON_SNAPSHOTTER_TEXT_H

static inline char *text_for_reader(const char *text)
{
	union {
		const char *in;
		char *out;
	} u = {text};

	return u.out;
}

#endif
