/* SPDX-License-Identifier: Apache-2.0
 * Three processes: the caller waits; one makes the namespaces and waits for the first of the new process
 * namespace; that one mounts, becomes the image's user and executes the program. Killing it kills all. */
#include "publisher/workload.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANNOT_START 125 /* exit code: what is around the program could not be made */

static size_t add_strings(char **to, size_t n, const json_t *list)
{
	size_t i;
	json_t *item;

	json_array_foreach(list, i,
			   item) if (json_is_string(item) && (to[n] = strdup(json_string_value(item)))) n++;
	return n;
}

static char **new_list(size_t n)
{
	return calloc(n + 1, sizeof(char *));
}

static void free_list(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

void workload_deinit(struct workload *w)
{
	free_list(w->argv);
	free_list(w->env);
	free(w->directory);
	*w = (struct workload){0};
}

static int take_argv(struct workload *w, const json_t *config, char *const *command, struct err *e)
{
	const json_t *entrypoint = json_object_get(config, "Entrypoint"),
		     *cmd = json_object_get(config, "Cmd");
	size_t n = 0;

	while (command[n])
		n++;
	w->argv = new_list(n ? n : json_array_size(entrypoint) + json_array_size(cmd));
	if (!w->argv)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		w->argv[i] = strdup(command[i]);
	if (n == 0)
		n = add_strings(w->argv, add_strings(w->argv, 0, entrypoint), cmd);
	return n ? 0 : err_set(e, -EINVAL, "the image names no command: give one behind --");
}

static int take_config(struct workload *w, const json_t *config, char *const *command, struct err *e)
{
	const json_t *env = json_object_get(config, "Env"), *dir = json_object_get(config, "WorkingDir");
	const char *start = json_is_string(dir) && *json_string_value(dir) ? json_string_value(dir) : "/";
	int r = take_argv(w, config, command, e);

	if (r < 0)
		return r;
	w->env = new_list(json_array_size(env) + 1);
	w->directory = strdup(start);
	if (!w->env || !w->directory)
		return err_set(e, -ENOMEM, "out of memory");
	/* what a runtime gives when the image does not; the first one counts, and this one is last */
	w->env[add_strings(w->env, 0, env)] =
		strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	return 0;
}

int workload_init(struct workload *out, const struct buf *config, char *const *command, const char *user,
		  struct err *e)
{
	json_t *json = json_loadb((const char *)config->data, config->size, JSON_REJECT_DUPLICATES, NULL);
	struct workload w = {0};
	const char *colon = strchr(user, ':');
	int r = json ? take_config(&w, json_object_get(json, "config"), command, e)
		     : err_set(e, -EUCLEAN, "the image's config is no JSON");

	json_decref(json);
	if (r < 0) {
		workload_deinit(&w);
		return r;
	}
	w.uid = (uid_t)strtoul(user, NULL, 10);
	w.gid = colon ? (gid_t)strtoul(colon + 1, NULL, 10) : 0;
	*out = w;
	return 0;
}

/* From here on in the new process: nothing is given back, and the exit code tells. */

static void fail(const char *what)
{
	(void)fprintf(stderr, "cocoon optimize: %s: %s\n", what, strerror(errno));
	_exit(CANNOT_START);
}

static void mount_at(const char *type, const char *at, unsigned long flags, const char *data)
{
	if (mkdir(at, 0755) < 0 && errno != EEXIST)
		fail(at);
	if (mount(type, at, type, flags, data) < 0)
		fail(at);
}

static void bind_device(const char *name)
{
	char to[64], from[64];
	int fd;

	(void)snprintf(from, sizeof(from), "/dev/%s", name);
	(void)snprintf(to, sizeof(to), "root/dev/%s", name);
	fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		fail(to);
	(void)close(fd);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		fail(from);
}

/* The image below, memory above, and what every container has, in the scratch directory. */
static void make_tree(const char *image, const char *scratch)
{
	static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
	cleanup_free char *options = NULL;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		fail("mount namespace");
	/* by its name: the current directory is below the mount */
	if (mount("tmpfs", scratch, "tmpfs", 0, "mode=0755") < 0 || chdir(scratch) < 0)
		fail("tmpfs");
	if (mkdir("upper", 0755) < 0 || mkdir("work", 0755) < 0 || mkdir("root", 0755) < 0 ||
	    asprintf(&options, "lowerdir=%s,upperdir=upper,workdir=work", image) < 0)
		fail("scratch directory");
	if (mount("overlay", "root", "overlay", 0, options) < 0)
		fail("overlay");
	mount_at("proc", "root/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_at("sysfs", "root/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
	mount_at("tmpfs", "root/dev", MS_NOSUID | MS_NOEXEC, "mode=0755");
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		bind_device(devices[i]);
	mount_at("tmpfs", "root/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	if (symlink("/proc/self/fd", "root/dev/fd") < 0 || symlink("/proc/self/fd/0", "root/dev/stdin") < 0 ||
	    symlink("/proc/self/fd/1", "root/dev/stdout") < 0 ||
	    symlink("/proc/self/fd/2", "root/dev/stderr") < 0)
		fail("/dev");
}

static void loopback_up(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		fail("loopback");
}

/* Nothing of ours is open in it but stderr. */
static void set_files(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
	    syscall(SYS_close_range, 3, ~0U, 0) < 0)
		fail("standard files");
}

/* What containerd leaves a container's root, but for mknod(2) and chroot(2), which would lead out of here. */
static void limit_capabilities(void)
{
	static const uint64_t kept = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER |
				     1ULL << CAP_FSETID | 1ULL << CAP_KILL | 1ULL << CAP_SETGID |
				     1ULL << CAP_SETUID | 1ULL << CAP_SETPCAP | 1ULL << CAP_NET_BIND_SERVICE |
				     1ULL << CAP_NET_RAW | 1ULL << CAP_AUDIT_WRITE | 1ULL << CAP_SETFCAP;

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!(kept >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0)
			fail("capabilities");
}

static _Noreturn void execute(const struct workload *w)
{
	static const int usual[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};
	sigset_t none;

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		(void)signal(usual[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (chroot("root") < 0 || chdir("/") < 0)
		fail("chroot");
	(void)mkdir(w->directory, 0755); /* as runtimes do; its parents are the image's affair */
	if (chdir(w->directory) < 0)
		fail(w->directory);
	set_files();
	limit_capabilities();
	/* another user is no child whose parent's death ends it, unless that is said again */
	if (setgroups(0, NULL) < 0 || setgid(w->gid) < 0 || setuid(w->uid) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		fail("user");
	for (char **v = w->env; *v; v++)
		if (strncmp(*v, "PATH=", 5) == 0 && setenv("PATH", *v + 5, 1) == 0)
			break;
	(void)execvpe(w->argv[0], w->argv, w->env);
	fail(w->argv[0]);
	_exit(CANNOT_START);
}

static _Noreturn void be_first(const struct workload *w, const char *image, const char *scratch)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		fail("prctl");
	make_tree(image, scratch);
	loopback_up();
	execute(w);
}

/* Its exit code is the program's. */
static _Noreturn void be_parent(const struct workload *w, const char *image, const char *scratch)
{
	int status;
	pid_t first;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) < 0)
		fail("namespaces");
	first = fork();
	if (first < 0)
		fail("fork");
	if (first == 0)
		be_first(w, image, scratch);
	while (waitpid(first, &status, 0) < 0)
		if (errno != EINTR)
			fail("waitpid");
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Until it has ended, or is made to. */
static int wait_for(pid_t child, unsigned period_ms, struct err *e)
{
	cleanup_close int fd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool killed;
	int status;

	killed = fd < 0 || poll(&p, 1, (int)period_ms) <= 0;
	if (killed)
		(void)kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, -errno, "waiting for the command");
	if (killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return 0;
	return err_set(e, -ECHILD, "the command failed: exit code %d",
		       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int workload_run(const struct workload *w, const char *image, const char *scratch, unsigned period_ms,
		 struct err *e)
{
	pid_t child = fork();

	if (child < 0)
		return err_errno(e, -errno, "fork");
	if (child == 0)
		be_parent(w, image, scratch);
	return wait_for(child, period_ms, e);
}
