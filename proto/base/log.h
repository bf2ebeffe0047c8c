/* SPDX-License-Identifier: Apache-2.0
 * One line a message on stderr: "<level> <program>: <words>", with a "<N>" syslog prefix instead of the level
 * when stderr goes to the journal (sd-daemon(3)). Daemons and programs log; libraries return codes.
 * Write what a machine can find again: log_warn("chunk corrupt image=%s chunk=%u", …). Any thread. */
#ifndef COCOON_BASE_LOG_H
#define COCOON_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Before threads start. `program` is borrowed for ever. */
void log_init(const char *program, enum log_level level);
/* "error", "warn", "info" or "debug"; -EINVAL otherwise. */
int log_level_parse(enum log_level *out, const char *name);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
