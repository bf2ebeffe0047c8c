/* SPDX-License-Identifier: Apache-2.0
 * OpenSSL's TLS, narrowed. It sees the socket through a BIO of ours that never blocks and raises no signal;
 * a lock keeps the two threads of a connection apart, and nobody waits while he has it. */
#include "crypto/tls.h"
#include "crypto/tls_files.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MAX_CERTIFICATES 16384 /* bytes of the other end's: one is enough, and it may be a stranger */
#define ALERT(reason) ((reason)-SSL_AD_REASON_OFFSET)

struct tls_endpoint {
	SSL_CTX *context;
	BIO_METHOD *socket;
	bool has_pin;
	struct digest pin; /* of its own key */
	size_t n_pins;
	struct digest pins[]; /* of the others */
};

struct tls {
	const struct tls_endpoint *endpoint;
	int fd;
	pthread_mutex_t lock; /* guards what follows; never held across a wait */
	SSL *ssl;
	bool has_peer, rejected; /* rejected: the key is not pinned */
	struct digest peer;
	int error; /* of the last recv(2) or send(2) that failed; -EPROTO before */
};

/* ---- The socket, as OpenSSL sees it ---- */

static int socket_result(BIO *bio, ssize_t r, int retry)
{
	struct tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
	else if (r <= 0)
		t->error = r < 0 ? -errno : -ECONNRESET;
	return (int)r;
}

static int socket_read(BIO *bio, char *to, int n)
{
	struct tls *t = BIO_get_data(bio);

	return socket_result(bio, recv(t->fd, to, (size_t)n, MSG_DONTWAIT), BIO_FLAGS_READ);
}

static int socket_write(BIO *bio, const char *p, int n)
{
	struct tls *t = BIO_get_data(bio);

	return socket_result(bio, send(t->fd, p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL), BIO_FLAGS_WRITE);
}

static long socket_control(BIO *bio, int command, long n, void *p)
{
	(void)bio;
	(void)n;
	(void)p;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "wire");

	if (m && BIO_meth_set_read(m, socket_read) == 1 && BIO_meth_set_write(m, socket_write) == 1 &&
	    BIO_meth_set_ctrl(m, socket_control) == 1)
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- Endpoints ---- */

static bool is_pinned(const struct tls_endpoint *endpoint, const struct digest *key)
{
	for (size_t i = 0; i < endpoint->n_pins; i++)
		if (digest_equal(&endpoint->pins[i], key))
			return true;
	return false;
}

/* Instead of OpenSSL's own check of a chain: the first certificate's key is pinned or it is not. That the
 * other end has the private half is what TLS itself makes it prove. */
static int verify(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);

	(void)arg;
	t->has_peer = tls_files_pin(&t->peer, X509_STORE_CTX_get0_cert(store)) == 0;
	t->rejected = t->has_peer && !is_pinned(t->endpoint, &t->peer);
	if (t->has_peer && !t->rejected)
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
	return 0;
}

static int narrow(SSL_CTX *c)
{
	(void)SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* with AUTO_RETRY one call would go on for as long as the other end sends anything but data */
	(void)SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY);
	(void)SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(c, MAX_CERTIFICATES);
	SSL_CTX_set_cert_verify_callback(c, verify, NULL);
	return SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_num_tickets(c, 0) == 1 && SSL_CTX_set_max_early_data(c, 0) == 1
		       ? 0
		       : -ENOMEM;
}

static int endpoint_new(struct tls_endpoint **out, const SSL_METHOD *method, int mode,
			const struct tls_options *options, struct err *e)
{
	struct tls_endpoint *endpoint =
		calloc(1, sizeof(*endpoint) + options->n_pins * sizeof(struct digest));
	int r = endpoint ? 0 : -ENOMEM;

	if (r == 0) {
		endpoint->n_pins = options->n_pins;
		for (size_t i = 0; i < options->n_pins; i++)
			endpoint->pins[i] = options->pins[i];
		endpoint->context = SSL_CTX_new(method);
		endpoint->socket = socket_method();
		r = endpoint->context && endpoint->socket ? narrow(endpoint->context) : -ENOMEM;
	}
	if (r < 0) {
		(void)err_set(e, r, "out of memory");
	} else {
		SSL_CTX_set_verify(endpoint->context, mode, NULL);
		if (options->certificate)
			r = tls_files_use(endpoint->context, options->certificate, options->key,
					  &endpoint->pin, e);
		endpoint->has_pin = options->certificate != NULL;
	}
	ERR_clear_error();
	if (r < 0)
		tls_endpoint_free(endpoint);
	else
		*out = endpoint;
	return r;
}

int tls_guest_new(struct tls_endpoint **out, const struct tls_options *options, struct err *e)
{
	if (options->n_pins == 0)
		return err_set(e, -EINVAL, "no pin for the host");
	return endpoint_new(out, TLS_client_method(), SSL_VERIFY_PEER, options, e);
}

int tls_host_new(struct tls_endpoint **out, const struct tls_options *options, struct err *e)
{
	if (!options->certificate || !options->key)
		return err_set(e, -EINVAL, "a host needs a certificate and its key for TLS");
	return endpoint_new(out, TLS_server_method(),
			    options->n_pins > 0 ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
						: SSL_VERIFY_NONE,
			    options, e);
}

void tls_endpoint_free(struct tls_endpoint *endpoint)
{
	if (!endpoint)
		return;
	SSL_CTX_free(endpoint->context);
	BIO_meth_free(endpoint->socket);
	free(endpoint);
}

const struct digest *tls_endpoint_pin(const struct tls_endpoint *endpoint)
{
	return endpoint->has_pin ? &endpoint->pin : NULL;
}

/* ---- Connections ---- */

static int ssl_new(struct tls *t)
{
	BIO *bio = BIO_new(t->endpoint->socket);

	t->ssl = SSL_new(t->endpoint->context);
	if (!bio || !t->ssl || SSL_set_app_data(t->ssl, t) != 1) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	if (SSL_is_server(t->ssl))
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	return 0;
}

int tls_new(struct tls **out, const struct tls_endpoint *endpoint, int fd)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->endpoint = endpoint;
	t->fd = fd;
	t->error = -EPROTO;
	(void)pthread_mutex_init(&t->lock, NULL);
	r = ssl_new(t);
	if (r < 0) {
		ERR_clear_error();
		tls_free(t);
		return r;
	}
	*out = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

/* With the lock held: what it means that a call returned `r`. `reason` is OpenSSL's word for what is -EPROTO.
 */
static int outcome(struct tls *t, int r, const char **reason)
{
	unsigned long why = ERR_peek_error();

	*reason = NULL;
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_NONE:
		return 0;
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return -ECONNRESET;
	case SSL_ERROR_SYSCALL:
		return t->error;
	default:
		break;
	}
	if (ERR_GET_REASON(why) == ERR_R_MALLOC_FAILURE)
		return -ENOMEM;
	*reason = ERR_reason_error_string(why); /* NULL where it has no word */
	switch (ALERT(ERR_GET_REASON(why))) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REQUIRED:
		return -EACCES;
	default:
		return -EPROTO;
	}
}

int tls_handshake(struct tls *t, struct err *e)
{
	char pin[DIGEST_TEXT_SIZE];
	const char *reason;
	int r;

	(void)pthread_mutex_lock(&t->lock);
	ERR_clear_error();
	r = outcome(t, SSL_do_handshake(t->ssl), &reason);
	ERR_clear_error();
	(void)pthread_mutex_unlock(&t->lock);
	if (r >= 0)
		return r;
	if (t->rejected)
		return err_set(e, -EKEYREJECTED, "the key at the other end is %s, which is not pinned",
			       digest_text(&t->peer, pin));
	if (r == -EACCES) /* before the handshake is over, it is part of it */
		r = -EPROTO;
	return reason ? err_set(e, r, "TLS: %s", reason) : err_errno(e, r, "TLS");
}

const struct digest *tls_peer(const struct tls *t)
{
	return t->has_peer ? &t->peer : NULL;
}

int tls_receive(struct tls *t, void *to, size_t n, size_t *got)
{
	const char *unused;
	int r;

	(void)pthread_mutex_lock(&t->lock);
	ERR_clear_error();
	r = outcome(t, SSL_read_ex(t->ssl, to, n, got), &unused);
	ERR_clear_error();
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int tls_send(struct tls *t, const void *p, size_t n, size_t *sent)
{
	const char *unused;
	int r;

	(void)pthread_mutex_lock(&t->lock);
	ERR_clear_error();
	r = outcome(t, SSL_write_ex(t->ssl, p, n, sent), &unused);
	ERR_clear_error();
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}
