/* SPDX-License-Identifier: Apache-2.0
 * Decimal numbers in text that nobody vouches for. */
#ifndef COCOON_PUBLISHER_DIGITS_H
#define COCOON_PUBLISHER_DIGITS_H

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits at *p, not beyond `end`; *p moves behind them. False when there are none or too many. */
static inline bool digits(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	const uint8_t *start = *p;
	uint64_t v = 0;

	for (; *p < end && **p >= '0' && **p <= '9'; ++*p)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	*out = v;
	return *p > start;
}

#endif
