/* SPDX-License-Identifier: Apache-2.0
 * memory-peak: how much of the machine's memory is taken, in KiB beyond what was taken when it started. Looks
 * every 20 ms, and at SIGTERM prints "memory: PEAK_UNAVAILABLE PEAK_USED UNAVAILABLE USED": the peaks and the
 * last look. Unavailable is MemTotal - MemAvailable, which counts tmpfs but not page cache that can be
 * dropped; used is MemTotal - MemFree. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { UNAVAILABLE, USED, N };

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static long value(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	if (!at) {
		(void)fprintf(stderr, "memory-peak: no %s\n", name);
		exit(1);
	}
	return strtol(at + strlen(name), NULL, 10);
}

static void look(FILE *f, long taken[N])
{
	char text[4096];
	size_t n;
	long total;

	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	total = value(text, "MemTotal:");
	taken[UNAVAILABLE] = total - value(text, "MemAvailable:");
	taken[USED] = total - value(text, "MemFree:");
}

int main(void)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	const struct sigaction action = {.sa_handler = end};
	long start[N], now[N], peak[N];
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f || sigaction(SIGTERM, &action, NULL) < 0)
		return 1;
	(void)setvbuf(f, NULL, _IONBF, 0);
	look(f, start);
	memcpy(peak, start, sizeof(peak));
	do {
		(void)nanosleep(&pause, NULL);
		look(f, now);
		for (int i = 0; i < N; i++)
			peak[i] = now[i] > peak[i] ? now[i] : peak[i];
	} while (!ended);
	(void)printf("memory: %ld %ld %ld %ld\n", peak[UNAVAILABLE] - start[UNAVAILABLE],
		     peak[USED] - start[USED], now[UNAVAILABLE] - start[UNAVAILABLE],
		     now[USED] - start[USED]);
	return 0;
}
