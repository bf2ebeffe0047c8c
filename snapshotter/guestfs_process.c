/* SPDX-License-Identifier: Apache-2.0
 * The program is spawned in a session of its own, away from our signals; it puts itself into the background
 * once the image is mounted, and its first process ends then. Standard error is a file, not a pipe: it must
 * outlive this daemon. */
#include "snapshotter/guestfs_process.h"

#include "proto/base/cleanup.h"
#include "snapshotter/text.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define LOCK_FD 3 /* where the child finds the lock's descriptor */
#define MAX_KEYS 64u
#define MAX_ARGS (MAX_KEYS * 2 + 16)

extern char **environ;

/* A lock of an open file description: it goes with the descriptor to the child, and asking for it takes
 * nothing. */
static const struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

struct arguments {
	char *v[MAX_ARGS];
	size_t n;
};

static void add(struct arguments *a, const char *text)
{
	a->v[a->n++] = text_for_reader(text);
}

static int spawn(const struct local_road_config *config, struct arguments *args, int lock, int log,
		 pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawnattr_init(&attributes);
	r = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, log, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, log, STDERR_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, lock, LOCK_FD);
	if (r == 0)
		r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
								  POSIX_SPAWN_SETSIGDEF);
	if (r == 0)
		r = posix_spawnattr_setsigmask(&attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(&attributes, &all);
	if (r == 0)
		r = posix_spawnp(pid, config->guestfs, &files, &attributes, args->v, environ);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* The last line of the log, for the one who asked. */
static void last_words(const char *path, char *words, size_t size)
{
	cleanup_fclose FILE *f = fopen(path, "re");
	cleanup_free char *line = NULL;
	size_t room = 0;
	ssize_t n;

	(void)snprintf(words, size, "it said nothing");
	while (f && (n = getline(&line, &room, f)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (line[0])
			(void)snprintf(words, size, "%s", line);
	}
}

enum waited { ENDED, TIMED_OUT, CANCELED, UNWATCHED };

static enum waited wait_first(pid_t pid, unsigned timeout_ms, int cancel)
{
	cleanup_close int watch = pidfd_open(pid, 0);
	struct pollfd p[2] = {{.fd = watch, .events = POLLIN}, {.fd = cancel, .events = POLLIN}};
	int ready;

	if (watch < 0)
		return UNWATCHED;
	do
		ready = poll(p, 2, (int)timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return UNWATCHED;
	if (p[0].revents)
		return ENDED;
	return p[1].revents ? CANCELED : TIMED_OUT;
}

/* The first process ends when the image is mounted, or cannot be. */
static int await(pid_t pid, const struct local_road_config *config, const struct guestfs_paths *paths,
		 int cancel, struct err *e)
{
	enum waited waited = wait_first(pid, config->timeout_ms, cancel);
	char words[256];
	int status = 0;

	if (waited != ENDED)
		(void)kill(-pid, SIGKILL); /* the session's whole group */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (waited == TIMED_OUT)
		return err_set(e, -ETIMEDOUT, "%s did not mount the image within %u s", config->guestfs,
			       config->timeout_ms / 1000);
	if (waited == CANCELED)
		return err_set(e, -ECANCELED, "the snapshotter is being stopped");
	if (waited == UNWATCHED)
		return err_set(e, -EIO, "%s cannot be watched", config->guestfs);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	last_words(paths->log, words, sizeof(words));
	if (WIFSIGNALED(status))
		return err_set(e, -EIO, "%s died of signal %d: %s", config->guestfs, WTERMSIG(status), words);
	return err_set(e, -EIO, "%s", words);
}

int guestfs_start(const struct local_road_config *config, const char *reference,
		  const struct guestfs_paths *paths, int cancel, struct err *e)
{
	cleanup_close int lock = open(paths->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	cleanup_close int log =
		open(paths->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct arguments args = {0};
	char cache[32];
	pid_t pid;
	int r;

	if (lock < 0 || log < 0)
		return err_errno(e, -errno, "%s", lock < 0 ? paths->lock : paths->log);
	if (fcntl(lock, F_OFD_SETLK, &whole_file) < 0)
		return err_set(e, -EBUSY, "a cocoon-guestfs for this image runs already");
	if (config->n_keys > MAX_KEYS)
		return err_set(e, -E2BIG, "over %u keys", MAX_KEYS);
	add(&args, config->guestfs);
	add(&args, "--host");
	add(&args, config->host);
	for (size_t i = 0; i < config->n_keys; i++) {
		add(&args, "--key");
		add(&args, config->keys[i]);
	}
	add(&args, "--front");
	add(&args, config->front);
	if (config->cache_bytes) {
		(void)snprintf(cache, sizeof(cache), "%llu", (unsigned long long)config->cache_bytes);
		add(&args, "--cache-size");
		add(&args, cache);
	}
	add(&args, reference);
	add(&args, paths->mount);
	r = spawn(config, &args, lock, log, &pid);
	if (r < 0) {
		(void)err_errno(e, r, "starting %s", config->guestfs);
		return -EIO; /* what is missing is not the image */
	}
	return await(pid, config, paths, cancel, e);
}

bool guestfs_is_alive(const struct guestfs_paths *paths)
{
	cleanup_close int lock = open(paths->lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct flock found = whole_file;

	return lock >= 0 && fcntl(lock, F_OFD_GETLK, &found) == 0 && found.l_type != F_UNLCK;
}

int guestfs_wait_end(const struct guestfs_paths *paths, unsigned timeout_ms)
{
	const struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned waited_ms = 0; guestfs_is_alive(paths); waited_ms += 5) {
		if (waited_ms >= timeout_ms)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}
