/* SPDX-License-Identifier: Apache-2.0
 * A thread that waits for a signal or for its own end. */
#include "guestfs/early_end.h"
#include "guestfs/options.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 20

struct early_end {
	int signals, stop;
	atomic_bool stopped; /* set before `stop` is written, for when that cannot be waited for */
	struct background *background;
	pthread_t thread;
};

static void *watch(void *arg)
{
	struct early_end *w = arg;
	struct pollfd p[2] = {{.fd = w->signals, .events = POLLIN}, {.fd = w->stop, .events = POLLIN}};
	static const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	struct signalfd_siginfo info;

	for (;;) {
		int r = poll(p, 2, -1);

		if (w->stopped)
			return NULL;
		if (r < 0) {
			(void)nanosleep(&pause, NULL);
			continue;
		}
		if (!p[0].revents || read(w->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
			continue;
		if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT)
			continue;
		background_failed(w->background, EXIT_MOUNT,
				  "ended by a signal before the image was mounted");
		_exit(EXIT_MOUNT);
	}
}

int early_end_start(struct early_end **out, int signals, struct background *b, struct err *e)
{
	struct early_end *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	w->signals = signals;
	w->background = b;
	w->stop = eventfd(0, EFD_CLOEXEC);
	r = w->stop < 0 ? -errno : -pthread_create(&w->thread, NULL, watch, w);
	if (r < 0) {
		if (w->stop >= 0)
			(void)close(w->stop);
		free(w);
		return err_errno(e, r, "watching for signals");
	}
	*out = w;
	return 0;
}

void early_end_stop(struct early_end *w)
{
	if (!w)
		return;
	w->stopped = true;
	(void)eventfd_write(w->stop, 1);
	pthread_join(w->thread, NULL);
	(void)close(w->stop);
	free(w);
}
