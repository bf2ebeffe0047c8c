/* SPDX-License-Identifier: Apache-2.0
 * One thread at a time makes a connection and opens the image on it, others wait for that. After the first
 * time the image is asked for by the digest of its manifest, and the answer is held against the first one, as
 * handles depend on it. Connections are made with a back-off that all threads share and that ends only with
 * an answer, so that neither many readers nor a host that accepts and closes can make a storm of them. */
#include "guestfs/wire_session.h"
#include "crypto/sha256.h"
#include "guestfs/wire_stream.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

#define PROBE_MIN_MS 1000u /* for one attempt at a host that was away for long */
#define STOP_LOOK_MS 200u
#define TELL_EVERY_MS 10000u /* a host that comes and goes fills no log */

void wire_session_init(struct wire_session *w)
{
	w->backoff_ms = BACKOFF_FIRST_MS;
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
	if (w->candidate)
		wire_connection_break(w->candidate);
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/* With the lock held: wait for a change, at most until then. 0 or -ETIMEDOUT. */
static int wait_change(struct wire_session *w, const struct deadline *deadline)
{
	return -pthread_cond_clockwait(&w->changed, &w->lock, CLOCK_MONOTONIC, &deadline->at);
}

/* How long a host is waited for ----------------------------------------------------------------- */

/* When nothing was heard of it for twice as long as anyone would wait, it may have been here meanwhile. */
static bool outage_is_known(const struct outage *o, unsigned int timeout_ms)
{
	return o->on && monotonic_ms() - o->last_ms <= 2ull * timeout_ms;
}

/* It failed now, the first time at `since_ms`. Returns whether that is a new outage. */
static bool outage_note(struct outage *o, uint64_t since_ms, unsigned int timeout_ms)
{
	bool known = outage_is_known(o, timeout_ms);

	if (!known)
		*o = (struct outage){.on = true, .since_ms = since_ms};
	o->last_ms = monotonic_ms();
	return !known;
}

static uint64_t outage_ms(const struct outage *o, unsigned int timeout_ms)
{
	return outage_is_known(o, timeout_ms) ? monotonic_ms() - o->since_ms : 0;
}

static unsigned int probe_ms(const struct wire_session *w)
{
	unsigned int ms = w->timeout_ms / 10;

	if (ms < PROBE_MIN_MS)
		ms = PROBE_MIN_MS;
	return ms < w->timeout_ms ? ms : w->timeout_ms;
}

struct patience wire_session_impatience(struct wire_session *w)
{
	return (struct patience){
		.deadline = deadline_after(probe_ms(w)), .once = true, .backoff_ms = BACKOFF_FIRST_MS};
}

struct patience wire_session_patience(struct wire_session *w)
{
	unsigned int least = probe_ms(w), ms;
	uint64_t away_ms;

	pthread_mutex_lock(&w->lock);
	away_ms = outage_ms(&w->host, w->timeout_ms);
	pthread_mutex_unlock(&w->lock);
	if (away_ms >= w->timeout_ms)
		return wire_session_impatience(w);
	ms = w->timeout_ms - (unsigned int)away_ms;
	return (struct patience){.deadline = deadline_after(ms > least ? ms : least),
				 .tries = WIRE_TRIES - 1,
				 .backoff_ms = BACKOFF_FIRST_MS};
}

/* The host failed, the first time at `since_ms`. */
static void note_lost(struct wire_session *w, uint64_t since_ms, int error, const struct err *why)
{
	uint64_t now = monotonic_ms();
	bool tell, new;

	pthread_mutex_lock(&w->lock);
	new = outage_note(&w->host, since_ms, w->timeout_ms);
	tell = new && w->opened && !w->stopped && !w->told &&
	       (w->told_ms == 0 || now - w->told_ms >= TELL_EVERY_MS);
	if (tell) {
		w->told = true;
		w->told_ms = now;
	}
	atomic_store_explicit(&w->unsettled, true, memory_order_relaxed);
	pthread_mutex_unlock(&w->lock);
	if (tell)
		log_warn("host lost error=%d reason=\"%s\"", -error, why->text);
}

void wire_session_heard(struct wire_session *w)
{
	uint64_t away_ms;
	bool tell;

	if (!atomic_load_explicit(&w->unsettled, memory_order_relaxed))
		return;
	pthread_mutex_lock(&w->lock);
	away_ms = w->host.on ? monotonic_ms() - w->host.since_ms : 0;
	tell = w->told;
	w->told = false;
	w->host.on = false;
	w->backoff_ms = BACKOFF_FIRST_MS;
	w->retry_ms = w->once_ms = 0;
	atomic_store_explicit(&w->unsettled, false, memory_order_relaxed);
	pthread_mutex_unlock(&w->lock);
	if (tell)
		log_info("host back away_ms=%llu reconnects=%llu", (unsigned long long)away_ms,
			 (unsigned long long)atomic_load_explicit(&w->reconnects, memory_order_relaxed));
}

bool wire_session_is_lost(struct wire_session *w)
{
	bool lost;

	pthread_mutex_lock(&w->lock);
	lost = w->host.on;
	pthread_mutex_unlock(&w->lock);
	return lost;
}

/* Another such status: is what the host waits for worth waiting for? */
static bool upstream_may_come(struct wire_session *w)
{
	bool may;

	pthread_mutex_lock(&w->lock);
	(void)outage_note(&w->upstream, monotonic_ms(), w->timeout_ms);
	may = outage_ms(&w->upstream, w->timeout_ms) < w->timeout_ms;
	pthread_mutex_unlock(&w->lock);
	return may;
}

void wire_session_upstream_back(struct wire_session *w)
{
	pthread_mutex_lock(&w->lock);
	w->upstream.on = false;
	pthread_mutex_unlock(&w->lock);
}

int wire_session_status(struct wire_session *w, enum wire_status status, struct patience *p)
{
	int r = wire_status_errno(status);

	if (r != -EAGAIN)
		return r;
	if (p->once)
		return -EREMOTEIO;
	if (status != WIRE_INTERNAL)
		return upstream_may_come(w) ? TRY_AGAIN : -EREMOTEIO;
	p->counted = true;
	return p->tries > 0 ? TRY_AGAIN : -EREMOTEIO;
}

int wire_session_back_off(struct wire_session *w, struct patience *p, struct err *e)
{
	unsigned int left = (unsigned int)deadline_left_ms(&p->deadline);
	struct deadline until;
	int r = 0;

	if (left < BACKOFF_FIRST_MS)
		return -ETIMEDOUT;
	until = deadline_after(p->backoff_ms < left ? p->backoff_ms : left / 2);
	if (p->counted)
		p->tries--;
	p->counted = false;
	p->backoff_ms = p->backoff_ms * 2 < BACKOFF_MAX_MS ? p->backoff_ms * 2 : BACKOFF_MAX_MS;
	pthread_mutex_lock(&w->lock);
	while (r == 0 && !w->stopped)
		r = wait_change(w, &until);
	r = w->stopped ? err_set(e, -ESHUTDOWN, "the image is being closed") : 0;
	pthread_mutex_unlock(&w->lock);
	return r;
}

int wire_session_call(struct wire_session *w, struct wire_connection *c, struct wire_call *call,
		      struct patience *p, struct err *e)
{
	uint64_t began_ms = monotonic_ms();
	struct err words = {""};
	int r;

	if (!e) /* the log wants to know */
		e = &words;
	call->silence_ms = w->timeout_ms / 2;
	r = wire_call(c, call, &p->deadline, e);
	if (r == 0 || r == -ENOMEM || r == -ESHUTDOWN)
		return r;
	if (r == -ETIMEDOUT) {
		atomic_fetch_add_explicit(&w->timeouts, 1, memory_order_relaxed);
		if (wire_connection_broken(c))
			note_lost(w, began_ms, r, e);
		return r;
	}
	note_lost(w, monotonic_ms(), r, e);
	p->counted = r == -EPROTO;
	return p->once || (p->counted && p->tries == 0) ? r : TRY_AGAIN;
}

/* Connections ----------------------------------------------------------------------------------- */

int handle_is_wrong(const struct wire_connection *c, const char *words, struct err *e)
{
	if (wire_connection_served(c))
		return 0;
	return err_set(e, -EPROTO, "the host refuses what is in order, as if the image were another: %s",
		       words);
}

int single_answer(void *arg, enum wire_status status, const uint8_t *payload, size_t size, struct err *e)
{
	struct single *s = arg;
	struct wire_failure f;
	int r;

	if (status == WIRE_OK) {
		r = s->accept(s, payload, size, e);
	} else {
		r = wire_failure_decode(&f, payload, size, e);
		if (r == 0 && s->connection && status == WIRE_INVALID)
			r = handle_is_wrong(s->connection, f.words, e);
		if (r == 0)
			s->result = err_set(e,
					    s->patience ? wire_session_status(s->w, status, s->patience)
							: wire_status_errno(status),
					    "the host says: %s", f.words);
	}
	if (r == 0 && s->patience)
		wire_session_heard(s->w);
	return r;
}

/* What the first OPEN gave is the image; a later one must give the same descriptor. What the manifest says
 * was used once, and whoever wants a certain one has said so to image_open(). */
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
	} else if (memcmp(w->descriptor, o.descriptor, DESCRIPTOR_SIZE) != 0) {
		s->result = err_set(e, -EBADMSG, "the host has another image under the name of this one");
	}
	return 0;
}

/* Why there is no connection. */
enum failure { AWAY, PASSING, FINAL };

static int open_reference(struct wire_connection *c, const struct reference *reference, struct single *s,
			  const struct deadline *deadline, enum failure *failure, struct err *e)
{
	char text[REFERENCE_TEXT_SIZE];
	cleanup_buf struct buf payload;
	int r;

	(void)reference_text(reference, text);
	buf_init(&payload, WIRE_MAX_PAYLOAD);
	wire_open_encode(&payload, text, strlen(text));
	*failure = FINAL;
	if (buf_failed(&payload))
		return err_set(e, -ENOMEM, "out of memory");
	r = wire_call(c,
		      &(struct wire_call){.type = WIRE_OPEN,
					  .payload = &payload,
					  .n_answers = 1,
					  .max_payload = 8 + MAX_MANIFEST_SIZE + DESCRIPTOR_SIZE,
					  .answer = single_answer,
					  .arg = s},
		      deadline, e);
	if (r < 0) {
		if (r != -ENOTSUP && r != -ENOMEM)
			*failure = AWAY;
		return r;
	}
	if (s->result != -EAGAIN)
		return s->result;
	*failure = PASSING;
	return -EREMOTEIO;
}

/* The image that was opened first is asked for by the digest of its manifest. A host that changed a manifest
 * that nobody had pinned made that a digest which names nothing: then the first name leads back. */
static int open_image(struct wire_session *w, struct wire_connection *c, struct single *s,
		      const struct deadline *deadline, enum failure *failure, struct err *e)
{
	struct reference reference = w->reference;
	int r;

	if (!w->opened || reference.has_digest)
		return open_reference(c, &reference, s, deadline, failure, e);
	reference.tag[0] = '\0';
	reference.has_digest = true;
	reference.digest = w->manifest;
	r = open_reference(c, &reference, s, deadline, failure, e);
	if (r != -ENOENT)
		return r;
	s->result = 0;
	return open_reference(c, &w->reference, s, deadline, failure, e);
}

/* Nobody can break a stream that is not connected yet: a stop is looked for now and then. */
static int wait_connected(struct wire_session *w, const struct stream *s, const struct deadline *deadline,
			  struct err *e)
{
	bool stopped = false;
	int r;

	do {
		unsigned int left = (unsigned int)deadline_left_ms(deadline);
		struct deadline look = deadline_after(left < STOP_LOOK_MS ? left : STOP_LOOK_MS);

		r = stream_connected(s, &look, e);
		pthread_mutex_lock(&w->lock);
		stopped = w->stopped;
		pthread_mutex_unlock(&w->lock);
	} while (r == -ETIMEDOUT && !stopped && !deadline_passed(deadline));
	return r;
}

/* Make a connection and open the image on it. Only one thread is here at a time. */
static int make_connection(struct wire_session *w, struct buf *manifest, const struct deadline *deadline,
			   enum failure *failure, struct err *e)
{
	struct single s = {.accept = accept_opened, .w = w, .to = manifest};
	struct wire_connection *c, *unused;
	struct stream stream;
	int fd = w->dial ? w->dial(w->dial_arg, e) : wire_dial(&w->address, e);
	int r = fd < 0 ? fd : stream_open(&stream, fd, w->tls, e);

	if (r == 0) {
		r = wait_connected(w, &stream, deadline, e);
		if (r == 0)
			r = wire_adopt(&c, stream, e);
		else
			stream_close(&stream);
	}
	if (r < 0) {
		*failure = r == -ENOMEM || r == -EKEYREJECTED ? FINAL : AWAY;
		return r;
	}
	unused = c;
	pthread_mutex_lock(&w->lock);
	w->candidate = c;
	if (w->stopped)
		wire_connection_break(c);
	pthread_mutex_unlock(&w->lock);
	r = open_image(w, c, &s, deadline, failure, e);
	pthread_mutex_lock(&w->lock);
	w->candidate = NULL;
	if (r == 0) {
		unused = w->connection;
		w->connection = c;
		w->handle = s.handle;
	}
	pthread_mutex_unlock(&w->lock);
	wire_connection_unref(unused);
	return r;
}

/* With the lock held, which is given up for the attempt. */
static int reconnect(struct wire_session *w, const struct deadline *deadline, struct err *e)
{
	uint64_t began_ms = monotonic_ms(), took_ms, now_ms;
	enum failure failure = AWAY;
	struct err why = {""};
	int r;

	w->connecting = true;
	atomic_store_explicit(&w->unsettled, true, memory_order_relaxed);
	pthread_mutex_unlock(&w->lock);
	r = make_connection(w, NULL, deadline, &failure, &why);
	if (r < 0)
		note_lost(w, monotonic_ms(), r, &why);
	else
		atomic_fetch_add_explicit(&w->reconnects, 1, memory_order_relaxed);
	pthread_mutex_lock(&w->lock);
	w->connecting = false;
	w->failure = r;
	w->refused = r < 0 && failure == FINAL;
	w->why = why;
	now_ms = monotonic_ms();
	took_ms = now_ms - began_ms < BACKOFF_MAX_MS ? now_ms - began_ms : BACKOFF_MAX_MS;
	w->retry_ms = now_ms + w->backoff_ms;
	w->once_ms = now_ms + (took_ms > BACKOFF_FIRST_MS ? took_ms : BACKOFF_FIRST_MS);
	w->backoff_ms = w->backoff_ms * 2 < BACKOFF_MAX_MS ? w->backoff_ms * 2 : BACKOFF_MAX_MS;
	pthread_cond_broadcast(&w->changed);
	return r < 0 ? err_set(e, r, "%s", why.text) : 0;
}

/* With the lock held: let it change, until `turn_ms` when that is not 0, but not past the deadline. */
static int wait_turn(struct wire_session *w, uint64_t turn_ms, const struct patience *p, struct err *e)
{
	uint64_t now_ms = monotonic_ms();
	struct deadline until = p->deadline;

	if (deadline_passed(&p->deadline))
		return err_set(e, -ETIMEDOUT, "no connection to the host%s%s", w->failure ? ": " : "",
			       w->failure ? w->why.text : "");
	if (turn_ms > now_ms && turn_ms - now_ms < (uint64_t)deadline_left_ms(&p->deadline))
		until = deadline_after((unsigned int)(turn_ms - now_ms));
	(void)wait_change(w, &until);
	return 0;
}

static bool is_usable(struct wire_connection *c)
{
	return c && !wire_connection_broken(c);
}

int wire_session_connection(struct wire_session *w, struct wire_connection **out, uint32_t *handle,
			    const struct patience *p, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	while (r == 0 && !w->stopped && !is_usable(w->connection)) {
		bool impatient = w->refused || p->once;
		uint64_t turn_ms = impatient ? w->once_ms : w->retry_ms;

		if (w->connecting || deadline_passed(&p->deadline)) {
			r = wait_turn(w, 0, p, e);
		} else if (monotonic_ms() < turn_ms) {
			r = impatient && w->failure ? err_set(e, w->failure, "%s", w->why.text)
						    : wait_turn(w, turn_ms, p, e);
		} else {
			r = reconnect(w, &p->deadline, e);
			if (!w->refused && !p->once)
				r = 0;
		}
	}
	if (w->stopped)
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
	struct patience away = {.deadline = deadline_after(w->wait_ms), .backoff_ms = BACKOFF_FIRST_MS};
	struct patience passing = {.deadline = deadline_after(w->timeout_ms), .backoff_ms = BACKOFF_FIRST_MS};
	enum failure failure;
	int r;

	do {
		struct deadline attempt = deadline_after(w->timeout_ms);

		r = make_connection(w, manifest, &attempt, &failure, e);
	} while (r < 0 && failure != FINAL &&
		 wire_session_back_off(w, failure == AWAY ? &away : &passing, e) == 0);
	return r;
}
