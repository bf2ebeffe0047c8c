/* SPDX-License-Identifier: Apache-2.0
 * JSON documents from outside, held against their limits before the JSON library's own. */
#ifndef COCOON_BASE_JSON_H
#define COCOON_BASE_JSON_H

#include "proto/base/err.h"

#include <jansson.h>
#include <stddef.h>

#define JSON_MAX_NESTING 64
#define JSON_MAX_VALUES 65536 /* members and elements, some counted twice: 16 MiB of memory at most */

/* Parse one JSON object of at most `max` bytes in which no key comes twice, nothing nests deeper than
 * JSON_MAX_NESTING and there are no more than JSON_MAX_VALUES. `what` is its name in words. 0; -E2BIG;
 * -EUCLEAN for what is not such an object; -ENOMEM. Release with json_decref(). */
int json_object_parse(json_t **out, const void *text, size_t size, size_t max, const char *what,
		      struct err *e);

static inline void cleanup_json_p(json_t **j)
{
	json_decref(*j);
}

#define cleanup_json __attribute__((cleanup(cleanup_json_p)))

#endif
