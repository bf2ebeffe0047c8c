/* SPDX-License-Identifier: Apache-2.0
 * The part of criterion that our tests use, for ThreadSanitizer: criterion's process isolation wants memory
 * at addresses that ThreadSanitizer keeps for itself, so that its tests do not even start. Here a test is a
 * fork. A build with -fsanitize=thread finds this header before the real one; nothing else should. */
#ifndef COCOON_TEST_UNIT_PLAIN_CRITERION_H
#define COCOON_TEST_UNIT_PLAIN_CRITERION_H
#pragma GCC system_header
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments" /* Test(a, b), as criterion allows */
#endif

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain_options {
	int plain; /* so that a test without options has something to initialise */
	void (*init)(void);
	void (*fini)(void);
	double timeout; /* seconds */
	int signal;	/* the test must end by it */
	const char *description;
};

struct plain_entry {
	const char *suite, *name;
	void (*run)(void); /* NULL for a suite */
	struct plain_options options;
	struct plain_entry *next;
};

/* Weak: a test may be made of several files. */
__attribute__((weak)) struct plain_entry *plain_entries;
__attribute__((weak)) bool plain_failed;

/* Ends where a semicolon fits, as TestSuite() is followed by one. */
#define PLAIN_ENTRY(id, suite_, name_, run_, ...)                                                            \
	static struct plain_entry id;                                                                        \
	__attribute__((constructor)) static void id##_add(void)                                              \
	{                                                                                                    \
		id.next = plain_entries;                                                                     \
		plain_entries = &id;                                                                         \
	}                                                                                                    \
	static struct plain_entry id = {#suite_, name_, run_, {.plain = 1, __VA_ARGS__}, NULL}

#define Test(suite, name, ...)                                                                               \
	static void plain_##suite##_##name(void);                                                            \
	PLAIN_ENTRY(plain_entry_##suite##_##name, suite, #name, plain_##suite##_##name, __VA_ARGS__);        \
	static void plain_##suite##_##name(void)

#define TestSuite(suite, ...) PLAIN_ENTRY(plain_suite_##suite, suite, NULL, NULL, __VA_ARGS__)

__attribute__((format(printf, 4, 5))) static inline void plain_fail(const char *file, int line,
								    const char *what, const char *format, ...)
{
	va_list args;

	(void)fprintf(stderr, "%s:%d: %s: ", file, line, what);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	plain_failed = true;
}

#define PLAIN_EXPECT(condition, ...)                                                                         \
	((condition) ? (void)0 : plain_fail(__FILE__, __LINE__, #condition, "" __VA_ARGS__))
/* exit(3) and not _exit(2): the sanitizer reports on the way out */
#define PLAIN_ASSERT(condition, ...)                                                                         \
	((condition) ? (void)0 : (plain_fail(__FILE__, __LINE__, #condition, "" __VA_ARGS__), exit(1)))

#define cr_assert(c, ...) PLAIN_ASSERT((c), __VA_ARGS__)
#define cr_assert_not(c, ...) PLAIN_ASSERT(!(c), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) PLAIN_ASSERT((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) PLAIN_ASSERT((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) PLAIN_ASSERT((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) PLAIN_ASSERT((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) PLAIN_ASSERT((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) PLAIN_ASSERT((a) >= (b), __VA_ARGS__)
#define cr_assert_null(p, ...) PLAIN_ASSERT((p) == NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) PLAIN_ASSERT((p) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) PLAIN_ASSERT(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) PLAIN_ASSERT(strcmp((a), (b)) != 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) PLAIN_ASSERT(memcmp((a), (b), (n)) == 0, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...) PLAIN_ASSERT(memcmp((a), (b), (n)) != 0, __VA_ARGS__)
#define cr_assert_fail(...) PLAIN_ASSERT(false, __VA_ARGS__)
#define cr_expect(c, ...) PLAIN_EXPECT((c), __VA_ARGS__)
#define cr_expect_not(c, ...) PLAIN_EXPECT(!(c), __VA_ARGS__)
#define cr_expect_eq(a, b, ...) PLAIN_EXPECT((a) == (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...) PLAIN_EXPECT((a) != (b), __VA_ARGS__)
#define cr_expect_lt(a, b, ...) PLAIN_EXPECT((a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...) PLAIN_EXPECT((a) <= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...) PLAIN_EXPECT((a) > (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...) PLAIN_EXPECT((a) >= (b), __VA_ARGS__)
#define cr_expect_null(p, ...) PLAIN_EXPECT((p) == NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...) PLAIN_EXPECT((p) != NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) PLAIN_EXPECT(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) PLAIN_EXPECT(memcmp((a), (b), (n)) == 0, __VA_ARGS__)
#define cr_log_info(...) ((void)printf(__VA_ARGS__), (void)putchar('\n'))
#define PLAIN_SKIPPED 77
#define cr_skip_test(...) ((void)printf("skipped: " __VA_ARGS__), (void)putchar('\n'), exit(PLAIN_SKIPPED))

static inline void plain_run(const struct plain_entry *test, const struct plain_options *suite)
{
	const struct plain_options *o = &test->options;
	void (*init)(void) = o->init ? o->init : suite->init;
	void (*fini)(void) = o->fini ? o->fini : suite->fini;

	(void)alarm((unsigned)(o->timeout > 0 ? o->timeout : suite->timeout));
	if (init)
		init();
	test->run();
	if (fini)
		fini();
	exit(plain_failed ? 1 : 0);
}

static inline bool plain_passed(int status, int wanted_signal)
{
	if (wanted_signal)
		return WIFSIGNALED(status) && WTERMSIG(status) == wanted_signal;
	return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == PLAIN_SKIPPED);
}

__attribute__((weak)) int main(void)
{
	static const struct plain_options none;
	int tested = 0, failing = 0;

	for (const struct plain_entry *test = plain_entries; test; test = test->next) {
		const struct plain_options *suite = &none;
		int status = 0;
		pid_t child;

		if (!test->run)
			continue;
		for (const struct plain_entry *s = plain_entries; s; s = s->next)
			if (!s->run && strcmp(s->suite, test->suite) == 0)
				suite = &s->options;
		(void)fflush(NULL);
		child = fork();
		if (child == 0)
			plain_run(test, suite);
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 1;
		tested++;
		if (!plain_passed(status, test->options.signal ? test->options.signal : suite->signal)) {
			failing++;
			(void)printf("[FAIL] %s::%s: status %#x\n", test->suite, test->name,
				     (unsigned)status);
		}
	}
	(void)printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d\n", tested, tested - failing,
		     failing);
	return failing ? 1 : 0;
}

#endif
