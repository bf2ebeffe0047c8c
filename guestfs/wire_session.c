/* SPDX-License-Identifier: Apache-2.0
 * One thread at a time makes a connection and opens the image on it, others wait for that. After the first
 * time the image is asked for by the digest of its manifest, and the answer is held against the first one, as
 * handles depend on it. */
#include "guestfs/wire_session.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define BACKOFF_MAX_MS 1000u
#define AWAY_MIN_MS 1000u

void wire_session_init(struct wire_session *w)
{
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

void wire_session_deinit(struct wire_session *w)
{
	wire_connection_unref(w->connection);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
}

/* Who waits for an answer is told by the break, who waits for its turn meets the mark. */
void wire_session_stop(struct wire_session *w)
{
	pthread_mutex_lock(&w->lock);
	w->stopped = true;
	if (w->connection)
		wire_connection_break(w->connection);
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

struct deadline wire_session_deadline(const struct wire_session *w)
{
	unsigned int ms = w->timeout_ms;

	if (atomic_load_explicit(&w->away, memory_order_relaxed) && ms > AWAY_MIN_MS)
		ms = ms / 10 > AWAY_MIN_MS ? ms / 10 : AWAY_MIN_MS;
	return deadline_after(ms);
}

void wire_session_note(struct wire_session *w, int r)
{
	if (r == 0 || r == -ETIMEDOUT)
		atomic_store_explicit(&w->away, r < 0, memory_order_relaxed);
}

bool back_off(unsigned int *ms, const struct deadline *deadline)
{
	struct timespec t;

	if ((unsigned int)deadline_left_ms(deadline) <= *ms)
		return false;
	t = (struct timespec){*ms / 1000, (long)(*ms % 1000) * 1000000};
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	*ms = *ms * 2 < BACKOFF_MAX_MS ? *ms * 2 : BACKOFF_MAX_MS;
	return true;
}

int call_result(const struct wire_session *w, int r)
{
	return r == 0 || !w->opened || r == -ENOTSUP || r == -ENOMEM ? r : TRY_AGAIN;
}

int status_result(enum wire_status status)
{
	int r = wire_status_errno(status);

	return r == -EAGAIN ? TRY_AGAIN : r;
}

int single_answer(void *arg, enum wire_status status, const uint8_t *payload, size_t size, struct err *e)
{
	struct single *s = arg;
	struct wire_failure f;
	int r;

	if (status == WIRE_OK)
		return s->accept(s, payload, size, e);
	r = wire_failure_decode(&f, payload, size, e);
	if (r == 0)
		s->result = err_set(e, status_result(status), "the host says: %s", f.words);
	return r;
}

/* What the first OPEN gave is the image; a later one must give the same. */
static int accept_opened(struct single *s, const uint8_t *payload, size_t size, struct err *e)
{
	struct wire_session *w = s->w;
	struct wire_opened o;
	struct digest manifest;
	int r = wire_opened_decode(&o, payload, size, e);

	if (r < 0)
		return r;
	if (s->to)
		buf_put(s->to, o.manifest, o.manifest_size);
	if (sha256(&manifest, o.manifest, o.manifest_size) < 0 || (s->to && buf_failed(s->to)))
		return err_set(e, -ENOMEM, "out of memory");
	s->handle = o.handle;
	/* only the connecting thread is here */
	if (!w->opened) {
		w->manifest = manifest;
		memcpy(w->descriptor, o.descriptor, DESCRIPTOR_SIZE);
		w->opened = true;
	} else if (!digest_equal(&manifest, &w->manifest) ||
		   memcmp(w->descriptor, o.descriptor, DESCRIPTOR_SIZE) != 0) {
		s->result = err_set(e, -EBADMSG, "the host has another image under the digest of this one");
	}
	return 0;
}

static int open_image(struct wire_session *w, struct wire_connection *c, struct buf *manifest,
		      uint32_t *handle, const struct deadline *deadline, struct err *e)
{
	struct single s = {.accept = accept_opened, .w = w, .to = manifest};
	struct reference reference = w->reference;
	char text[REFERENCE_TEXT_SIZE];
	cleanup_buf struct buf payload;
	int r;

	if (w->opened) {
		reference.tag[0] = '\0';
		reference.has_digest = true;
		reference.digest = w->manifest;
	}
	(void)reference_text(&reference, text);
	buf_init(&payload, WIRE_MAX_PAYLOAD);
	wire_open_encode(&payload, text, strlen(text));
	if (buf_failed(&payload))
		return err_set(e, -ENOMEM, "out of memory");
	r = wire_call(c,
		      &(struct wire_call){.type = WIRE_OPEN,
					  .payload = &payload,
					  .n_answers = 1,
					  .max_payload = 8 + MAX_MANIFEST_SIZE + DESCRIPTOR_SIZE,
					  .answer = single_answer,
					  .arg = &s},
		      deadline, e);
	if (r < 0)
		return call_result(w, r);
	if (s.result == 0)
		*handle = s.handle;
	return s.result;
}

/* Make a connection and open the image on it. Only one thread is here at a time. */
static int make_connection(struct wire_session *w, struct buf *manifest, const struct deadline *deadline,
			   struct err *e)
{
	struct wire_connection *c, *old;
	uint32_t handle = 0;
	int r = wire_connect(&c, &w->address, deadline, e);

	if (r < 0)
		return call_result(w, r);
	r = open_image(w, c, manifest, &handle, deadline, e);
	if (r != 0) {
		wire_connection_unref(c);
		return r;
	}
	pthread_mutex_lock(&w->lock);
	old = w->connection;
	w->connection = c;
	w->handle = handle;
	pthread_mutex_unlock(&w->lock);
	wire_connection_unref(old);
	return 0;
}

int wire_session_connection(struct wire_session *w, struct wire_connection **out, uint32_t *handle,
			    const struct deadline *deadline, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	while (r == 0 && !w->stopped && (!w->connection || wire_connection_broken(w->connection))) {
		if (w->connecting) {
			if (pthread_cond_clockwait(&w->changed, &w->lock, CLOCK_MONOTONIC, &deadline->at) !=
			    0)
				r = err_set(e, -ETIMEDOUT, "no connection to the host");
			continue;
		}
		w->connecting = true;
		pthread_mutex_unlock(&w->lock);
		r = make_connection(w, NULL, deadline, e);
		pthread_mutex_lock(&w->lock);
		w->connecting = false;
		pthread_cond_broadcast(&w->changed);
	}
	if (r == 0 && w->stopped)
		r = err_set(e, -ESHUTDOWN, "the image is being closed");
	if (r == 0) {
		*out = wire_connection_ref(w->connection);
		*handle = w->handle;
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

int wire_session_open(struct wire_session *w, struct buf *manifest, struct err *e)
{
	struct deadline deadline = deadline_after(w->timeout_ms);
	unsigned int backoff = BACKOFF_FIRST_MS;
	int r;

	do {
		r = make_connection(w, manifest, &deadline, e);
	} while (r == TRY_AGAIN && back_off(&backoff, &deadline));
	return r == TRY_AGAIN ? -ETIMEDOUT : r;
}
