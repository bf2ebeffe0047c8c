/* SPDX-License-Identifier: Apache-2.0
 * The log line: built in one buffer, written with one write(2), so that lines of two threads do not mix. */
#include "proto/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const struct {
	const char *name;
	const char *journal; /* sd-daemon(3) prefix */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", "<3>"},
	[LOG_LEVEL_WARN] = {"warn", "<4>"},
	[LOG_LEVEL_INFO] = {"info", "<6>"},
	[LOG_LEVEL_DEBUG] = {"debug", "<7>"},
};

/* A program's one log, set up before threads start and only read afterwards. */
static struct {
	const char *program;
	enum log_level level;
	int journal;
} the_log = {"cocoon", LOG_LEVEL_INFO, 0};

void log_init(const char *program, enum log_level level)
{
	the_log.program = program;
	the_log.level = level;
	the_log.journal = getenv("JOURNAL_STREAM") != NULL;
}

int log_level_parse(enum log_level *out, const char *name)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	int head, body;
	size_t n;
	va_list args;

	if (level > the_log.level)
		return;
	if (the_log.journal)
		head = snprintf(line, sizeof(line), "%s%s: ", levels[level].journal, the_log.program);
	else
		head = snprintf(line, sizeof(line), "%s %s: ", levels[level].name, the_log.program);
	if (head < 0 || (size_t)head >= sizeof(line) - 1)
		return;
	va_start(args, format);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	if (body < 0)
		return;
	n = strlen(line);
	/* Names may come from a hostile image or host: no control characters on a terminal or in a log. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody is left to tell */
}
