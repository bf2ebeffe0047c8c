/* SPDX-License-Identifier: Apache-2.0
 * Words for a person beside the error code. A function that can fail returns 0 or a negative errno and,
 * when it has a last parameter `struct err *e`, says there what was wrong and where; callers put their
 * own context in front with err_prefix(). Fixed storage: nothing here allocates or fails.
 *
 * Codes with a meaning of our own:
 *   -EBADMSG  digest, tag or signature did not match      -EPROTO     peer broke the wire rules
 *   -EUCLEAN  authentic bytes with an impossible meaning  -E2BIG      over a limit we set
 *   -ENOKEY   no key for this image                       -ETIMEDOUT  deadline passed
 *   -EINVAL   the caller (or the user) asked for nonsense -ENOTSUP    well-formed, but not for this version
 */
#ifndef COCOON_BASE_ERR_H
#define COCOON_BASE_ERR_H

#define ERR_TEXT_MAX 512 /* longer texts are cut */

struct err {
	char text[ERR_TEXT_MAX];
};

/* Set the words and return `code`. `e` may be NULL. Characters that are not printable become '?', so that
 * a hostile name cannot write control sequences to a terminal or a log. */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put "<words>: " in front of what is there and return `code`. `e` may be NULL. */
int err_prefix(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* err_set() with ": <strerror(-code)>" after the words. */
int err_errno(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
