/* SPDX-License-Identifier: Apache-2.0
 * A progress bar on stderr, when that is a terminal: how far, how fast, how long still. One thread. */
#ifndef COCOON_PUBLISHER_PROGRESS_H
#define COCOON_PUBLISHER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool shown;
	const char *what;    /* borrowed */
	uint64_t started_ms; /* when this bar began, on the monotonic clock */
	uint64_t drawn_ms;   /* when it was drawn last */
};

/* A bar that says `what` before the figures. Nothing is ever shown when `quiet`, or when stderr is no
 * terminal. */
void progress_start(struct progress *p, const char *what, bool quiet);
/* `arg` is a struct progress; bytes. Draws at most ten times a second. */
void progress_update(void *arg, uint64_t done, uint64_t total);
/* Take the bar away. */
void progress_end(struct progress *p);

/* "1.4 GiB", for people. Returns `text`. */
#define SIZE_TEXT_SIZE 24
const char *size_text(uint64_t bytes, char text[static SIZE_TEXT_SIZE]);

uint64_t clock_ms(void);

#endif
