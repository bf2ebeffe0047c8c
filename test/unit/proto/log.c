/* SPDX-License-Identifier: Apache-2.0
 * Log lines: level, program, words; one line whatever a hostile name holds. */
#include "proto/base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What `write` puts on stderr. */
static char *captured(void (*write_lines)(void))
{
	static char text[8192];
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	cr_assert_eq(pipe(fds), 0);
	(void)dup2(fds[1], STDERR_FILENO);
	write_lines();
	(void)dup2(saved, STDERR_FILENO);
	(void)close(fds[1]);
	(void)close(saved);
	n = read(fds[0], text, sizeof(text) - 1);
	(void)close(fds[0]);
	cr_assert_geq(n, 0);
	text[n] = '\0';
	return text;
}

static void two_levels(void)
{
	log_warn("chunk corrupt image=%s chunk=%u", "x", 7u);
	log_debug("not shown");
}

Test(log, line_has_level_program_and_words)
{
	(void)unsetenv("JOURNAL_STREAM");
	log_init("prog", LOG_LEVEL_INFO);
	cr_assert_str_eq(captured(two_levels), "warn prog: chunk corrupt image=x chunk=7\n");
}

Test(log, journal_gets_a_syslog_prefix)
{
	(void)setenv("JOURNAL_STREAM", "1:2", 1);
	log_init("prog", LOG_LEVEL_DEBUG);
	cr_assert_str_eq(captured(two_levels),
			 "<4>prog: chunk corrupt image=x chunk=7\n<7>prog: not shown\n");
}

static void hostile(void)
{
	log_error("name=%s", "a\nerror prog: forged\033[2J");
}

Test(log, control_characters_cannot_forge_a_line)
{
	log_init("prog", LOG_LEVEL_INFO);
	cr_assert_str_eq(captured(hostile), "error prog: name=a?error prog: forged?[2J\n");
}

static void long_line(void)
{
	char words[4000];

	memset(words, 'x', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	log_info("%s", words);
}

Test(log, long_line_is_cut_and_ends)
{
	char *text;

	log_init("prog", LOG_LEVEL_INFO);
	text = captured(long_line);
	cr_assert_leq(strlen(text), 1024);
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1);
}

Test(log, level_names)
{
	enum log_level level = LOG_LEVEL_ERROR;

	cr_assert_eq(log_level_parse(&level, "debug"), 0);
	cr_assert_eq(level, LOG_LEVEL_DEBUG);
	cr_assert_eq(log_level_parse(&level, "error"), 0);
	cr_assert_eq(level, LOG_LEVEL_ERROR);
	cr_assert_eq(log_level_parse(&level, "Debug"), -EINVAL);
	cr_assert_eq(log_level_parse(&level, ""), -EINVAL);
}
