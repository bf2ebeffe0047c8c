/* SPDX-License-Identifier: Apache-2.0
 * TLS 1.3 over a connected socket, for the wire between a guest and a host that have a network between them.
 * Who is at the other end is told by its key alone: a pin is the SHA-256 of the public key (the certificate's
 * SubjectPublicKeyInfo in DER). No authority, no name and no date is asked for, nothing is resumed, and there
 * is no other version. Guest and host link it; nothing in here opens a chunk. */
#ifndef COCOON_CRYPTO_TLS_H
#define COCOON_CRYPTO_TLS_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* What the connections of one side have in common: its own key, and who may be at the other end. Read-only
 * once made: any thread. */
struct tls_endpoint;

struct tls_options {
	/* PEM files of this side, the same one when both are in it. NULL: a guest that shows no key. A host
	 * has both. */
	const char *certificate, *key;
	/* Who may be at the other end; copied. A guest has one at least, a host without any takes
	 * everybody. */
	const struct digest *pins;
	size_t n_pins;
};

/* -EINVAL with words for files that do not fit, errors of reading them, -ENOMEM. */
int tls_guest_new(struct tls_endpoint **out, const struct tls_options *options, struct err *e);
int tls_host_new(struct tls_endpoint **out, const struct tls_options *options, struct err *e);
void tls_endpoint_free(struct tls_endpoint *endpoint); /* NULL is fine */
/* The pin of this side's own key; NULL when it shows none. */
const struct digest *tls_endpoint_pin(const struct tls_endpoint *endpoint);

/* One connection. Any thread; no call blocks, whatever the descriptor's mode: the positive answers below say
 * what to wait for with poll(2) before the same call is made again. */
struct tls;

enum tls_want { TLS_WANT_READ = 1, TLS_WANT_WRITE = 2 };

/* `endpoint` and `fd` are borrowed and live longer. -ENOMEM. */
int tls_new(struct tls **out, const struct tls_endpoint *endpoint, int fd);
void tls_free(struct tls *t); /* says nothing to the other end. NULL is fine */

/* Before all else. 0; a want; -EKEYREJECTED when the other end's key is not pinned; -ECONNRESET at the end of
 * the stream; -EPROTO for what is no TLS 1.3, or when the other end refuses. Words are set with errors only.
 */
int tls_handshake(struct tls *t, struct err *e);
/* The pin of the key that the other end has proved to have; NULL when it showed none. After tls_handshake().
 */
const struct digest *tls_peer(const struct tls *t);

/* At least one byte and at most n. 0; a want; -ECONNRESET at the end of the stream, whether or not the other
 * end has said that it closes; -EACCES when it refuses our key, which it may say after the handshake; -EPROTO
 * for a record that is damaged or none; the errors of recv(2) and send(2). */
int tls_receive(struct tls *t, void *to, size_t n, size_t *got);
/* As many of n bytes as the socket takes; after a want with the same bytes again, and perhaps more behind
 * them. */
int tls_send(struct tls *t, const void *p, size_t n, size_t *sent);

#endif
