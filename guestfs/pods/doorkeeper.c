/* SPDX-License-Identifier: Apache-2.0
 * A relay without a method of its own, in front of a socket that is never closed: who connects while there is
 * no door waits in its backlog for the next. */
#include "guestfs/pods/doorkeeper.h"
#include "guestfs/deadline.h"
#include "guestfs/pods/relay.h"
#include "guestfs/privileges.h"
#include "guestfs/service_manager.h"
#include "guestfs/signals.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define BACKLOG 64
#define GRACE_MS 2000u /* for a door that is told to end */
#define OPEN_MS 30000u /* for a door to open */
#define AGAIN_MS 250u  /* from one attempt to the next */

struct keeping {
	const struct doorkeeper_options *options;
	int signals, listener; /* the door's */
	pid_t door;	       /* 0: none */
	struct deadline again; /* the door is opened no sooner */
};

static void unlink_socket(const struct address *a)
{
	struct sockaddr_un un;

	memcpy(&un, &a->storage, sizeof(un));
	(void)unlink(un.sun_path);
}

static int listen_at(const struct address *a, struct err *e)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;
	char *slash;

	unlink_socket(a);
	memcpy(&un, &a->storage, sizeof(un));
	slash = strrchr(un.sun_path, '/');
	if (slash && slash > un.sun_path) {
		int r;

		*slash = '\0';
		r = make_directories(un.sun_path, e);
		if (r < 0)
			return r;
	}
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, &a->sa, a->size) < 0 || listen(fd, BACKLOG) < 0)
		return err_errno(e, -errno, "listening for the agent");
	return take_fd(&fd);
}

/* Between fork and exec: only what is safe beside other threads. */
_Noreturn static void become_door(const struct keeping *k, int ready, pid_t parent)
{
	sigset_t none;
	/* out of the way of the two numbers */
	int from = fcntl(k->listener, F_DUPFD, DOOR_READY + 1), to = fcntl(ready, F_DUPFD, DOOR_READY + 1);

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (from >= 0 && to >= 0 && dup2(from, DOOR_LISTENER) >= 0 && dup2(to, DOOR_READY) >= 0 &&
	    close(from) == 0 && close(to) == 0 && prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 &&
	    getppid() == parent)
		(void)execv(k->options->program, k->options->argv);
	_exit(127);
}

/* The door has ended, or ends now. */
static void end_door(struct keeping *k)
{
	struct deadline grace = deadline_after(GRACE_MS);
	pid_t ended = 0;

	if (k->door == 0)
		return;
	(void)kill(k->door, SIGTERM);
	while (!deadline_passed(&grace) && (ended = waitpid(k->door, NULL, WNOHANG)) == 0)
		(void)poll(NULL, 0, 10);
	if (ended == 0) {
		(void)kill(k->door, SIGKILL);
		(void)waitpid(k->door, NULL, 0);
	}
	k->door = 0;
}

/* 0 when it is open; -ECHILD when it is not, and then it is gone. */
static int open_door(struct keeping *k)
{
	struct deadline deadline = deadline_after(OPEN_MS);
	cleanup_close int in = -1, out = -1;
	pid_t parent = getpid();
	struct pollfd p;
	int fds[2];
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	in = fds[0];
	out = fds[1];
	k->door = fork();
	if (k->door == 0)
		become_door(k, out, parent);
	if (k->door < 0) {
		k->door = 0;
		return -errno;
	}
	(void)close(take_fd(&out));
	p = (struct pollfd){.fd = in, .events = POLLIN};
	while (poll(&p, 1, deadline_left_ms(&deadline)) < 0 && errno == EINTR)
		;
	if (p.revents && read(in, &byte, 1) == 1)
		return 0;
	end_door(k);
	return -ECHILD;
}

static void reopen_door(struct keeping *k)
{
	k->again = deadline_after(AGAIN_MS);
	if (open_door(k) == 0)
		log_info("the door is open pid=%ld", (long)k->door);
	else
		log_error("the door does not open");
}

/* Until a signal ends it. */
static void keep(struct keeping *k)
{
	struct pollfd p = {.fd = k->signals, .events = POLLIN};

	for (;;) {
		struct signalfd_siginfo info = {0};
		int status;

		if (poll(&p, 1, k->door > 0 ? -1 : deadline_left_ms(&k->again)) > 0)
			(void)!read(k->signals, &info, sizeof(info));
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			return;
		if (info.ssi_signo == SIGHUP) {
			log_info("the door is replaced");
			end_door(k);
		} else if (k->door > 0 && waitpid(k->door, &status, WNOHANG) == k->door) {
			log_error("the door has ended status=%d", status);
			k->door = 0;
		}
		if (k->door == 0 && deadline_passed(&k->again))
			reopen_door(k);
	}
}

static int run(struct keeping *k, int listener, const struct address *door, struct err *e)
{
	const struct relay_options options = {.behind = door, .name = "the image puller"};
	int notify = service_manager_connect(); /* the door is not to be taken for the service */
	struct relay *relay;
	int r;

	k->again = deadline_after(AGAIN_MS);
	if (open_door(k) < 0)
		return err_set(e, -ECHILD, "it does not serve");
	r = relay_start(&relay, listener, &options, e);
	if (r == 0) {
		service_manager_ready(notify);
		keep(k);
		relay_stop(relay);
	}
	end_door(k);
	return r;
}

/* Where the door listens: beside the agent's socket. */
static int door_address(struct address *out, const struct address *listen, struct err *e)
{
	char text[sizeof(struct sockaddr_un) + 16];
	struct sockaddr_un un;

	memcpy(&un, &listen->storage, sizeof(un));
	(void)snprintf(text, sizeof(text), "unix:%s.door", un.sun_path);
	return address_parse(out, text, e);
}

int doorkeeper_run(const struct doorkeeper_options *o, struct err *e)
{
	static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	cleanup_close int listener = -1, inner = -1, signals = -1;
	struct keeping k = {.options = o};
	struct address door;
	int r = door_address(&door, o->listen, e);

	if (r < 0)
		return r;
	privileges_spare_from_oom();
	signals = signals_open(handled, sizeof(handled) / sizeof(handled[0]), e);
	if (signals < 0)
		return signals;
	inner = listen_at(&door, e);
	if (inner < 0)
		return inner;
	listener = listen_at(o->listen, e);
	if (listener < 0)
		return listener;
	k.signals = signals;
	k.listener = inner;
	r = run(&k, listener, &door, e);
	unlink_socket(&door);
	return r;
}
