/* SPDX-License-Identifier: Apache-2.0
 * One line that is drawn over and over. */
#include "publisher/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_MS 100
#define BAR 30

uint64_t clock_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

const char *size_text(uint64_t bytes, char text[static SIZE_TEXT_SIZE])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes / 1024;
	size_t u = 0;

	if (bytes < 1024) {
		(void)snprintf(text, SIZE_TEXT_SIZE, "%u B", (unsigned)bytes);
		return text;
	}
	for (; v >= 1024 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	(void)snprintf(text, SIZE_TEXT_SIZE, v < 10 ? "%.2f %s" : "%.1f %s", v, units[u]);
	return text;
}

void progress_start(struct progress *p, const char *what, bool quiet)
{
	*p = (struct progress){
		.shown = !quiet && isatty(STDERR_FILENO), .what = what, .started_ms = clock_ms()};
}

void progress_update(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;
	uint64_t now = clock_ms(), spent, left;
	char have[SIZE_TEXT_SIZE], all[SIZE_TEXT_SIZE], rate[SIZE_TEXT_SIZE];
	int filled;

	if (!p->shown || now - p->drawn_ms < REDRAW_MS)
		return;
	p->drawn_ms = now;
	spent = now - p->started_ms + 1;
	if (done > total)
		done = total;
	left = done ? (total - done) / (done / spent + 1) / 1000 : 0;
	filled = total ? (int)(done * BAR / total) : 0;
	(void)fprintf(stderr, "\r\033[K%s [%.*s%*s] %s of %s, %s/s, %llu:%02llu left", p->what, filled,
		      "==============================", BAR - filled, "", size_text(done, have),
		      size_text(total, all), size_text(done * 1000 / spent, rate),
		      (unsigned long long)left / 60, (unsigned long long)left % 60);
	(void)fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown && p->drawn_ms)
		(void)fputs("\r\033[K", stderr);
	p->shown = false;
}
