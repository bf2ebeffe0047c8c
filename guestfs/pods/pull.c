/* SPDX-License-Identifier: Apache-2.0
 * The state directory has a directory for each pod: `lock`, held by the mounting program as long as it runs,
 * `image` where it mounts, the overlay's `upper` and `work`, its `log`, and `manifest` once the pod is whole.
 * Whether a pod lives is asked of its lock, so that a restart of this process changes nothing. */
#include "guestfs/pods/pull.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"
#include "proto/base/remove_tree.h"
#include "proto/oci/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define NAME_MAX_SIZE 128 /* of a container's id, with NUL; containerd's have 76 bytes at most */
#define PATH_SIZE 512
#define GONE_MS 2000u

struct puller {
	struct puller_options options;
	pthread_mutex_t
		lock; /* one pod begins or ends at a time; mounting, which may wait, is done without it */
};

/* What one pull works with. */
struct pod {
	char name[NAME_MAX_SIZE];
	char dir[PATH_SIZE], image[PATH_SIZE], upper[PATH_SIZE], work[PATH_SIZE], log[PATH_SIZE],
		manifest[PATH_SIZE];
	char rootfs[PATH_SIZE];
	int lock; /* held until the mounting program has it */
};

static bool name_is_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(name);

	return n > 0 && n < NAME_MAX_SIZE && name[0] != '.' && strspn(name, allowed) == n;
}

static int path_of(char to[static PATH_SIZE], const char *directory, const char *name)
{
	return snprintf(to, PATH_SIZE, "%s/%s", directory, name) < PATH_SIZE ? 0 : -ENAMETOOLONG;
}

static int pod_paths(struct pod *pod, const struct puller *p, const char *name)
{
	char bundle[PATH_SIZE];
	int r = path_of(pod->dir, p->options.state, name);

	r = r < 0 ? r : path_of(bundle, p->options.bundles, name);
	r = r < 0 ? r : path_of(pod->rootfs, bundle, "rootfs");
	(void)snprintf(pod->name, sizeof(pod->name), "%s", name);
	pod->lock = -1;
	r = r < 0 ? r : path_of(pod->image, pod->dir, "image");
	r = r < 0 ? r : path_of(pod->upper, pod->dir, "upper");
	r = r < 0 ? r : path_of(pod->work, pod->dir, "work");
	r = r < 0 ? r : path_of(pod->log, pod->dir, "log");
	return r < 0 ? r : path_of(pod->manifest, pod->dir, "manifest");
}

/* BUNDLES/NAME and nothing else: the agent's own choice, but its requests come from the host. */
static int pod_init(struct pod *pod, const struct puller *p, const char *bundle, struct err *e)
{
	size_t n = strlen(p->options.bundles);
	int r;

	if (strncmp(bundle, p->options.bundles, n) != 0 || bundle[n] != '/' || !name_is_valid(bundle + n + 1))
		return err_set(e, -EINVAL, "bundle %.256s is not %s/ID", bundle, p->options.bundles);
	r = pod_paths(pod, p, bundle + n + 1);
	return r < 0 ? err_set(e, r, "bundle %.256s", bundle) : 0;
}

/* A directory that is there afterwards, and is no link. */
static int make_directory(const char *path, struct err *e)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "%s", path);
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is not a directory", path);
	return 0;
}

/* Nothing may lie below the mount: the agent wants the directory empty after its unmount. */
static int make_rootfs(const struct pod *pod, const char *bundle, struct err *e)
{
	int r = make_directory(bundle, e);

	if (r == 0)
		r = make_directory(pod->rootfs, e);
	if (r == 0 && rmdir(pod->rootfs) < 0)
		return err_set(e, -EEXIST, "%s is in use", pod->rootfs);
	return r < 0 ? r : make_directory(pod->rootfs, e);
}

/* The pod's lock, if nobody has it. -EBUSY: its mount lives. */
static int take_lock(const struct pod *pod)
{
	char path[PATH_SIZE];
	cleanup_close int fd = -1;
	int r = path_of(path, pod->dir, "lock");

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return take_fd(&fd);
}

/* Until the processes of a pull that was ended are gone, or have been told and do not go. */
static void wait_gone(const struct pod *pod)
{
	struct deadline deadline = deadline_after(GONE_MS);
	int fd;

	while ((fd = take_lock(pod)) == -EBUSY && !deadline_passed(&deadline))
		(void)poll(NULL, 0, 10);
	if (fd >= 0)
		(void)close(fd);
}

static void reap_pod(struct puller *p, const char *name)
{
	struct err e = {""};
	struct pod pod;

	if (pod_paths(&pod, p, name) < 0)
		return;
	pod.lock = take_lock(&pod);
	if (pod.lock < 0)
		return;
	(void)umount2(pod.image, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (remove_tree(AT_FDCWD, pod.dir, &e) < 0)
		log_warn("something of a pod is left name=%s: %s", name, e.text);
	else
		log_info("pod gone name=%s", name);
	(void)close(pod.lock);
}

/* Of a pull that fails halfway: without its mounts the mounting program ends, too. */
static void unmount_all(const struct pod *pod)
{
	(void)umount2(pod->rootfs, MNT_DETACH | UMOUNT_NOFOLLOW);
	(void)umount2(pod->image, MNT_DETACH | UMOUNT_NOFOLLOW);
}

/* What a puller before us had not finished when it ended: nobody was told that it is there. */
static void give_up_pod(struct puller *p, const char *name)
{
	struct pod pod;

	if (pod_paths(&pod, p, name) < 0 || access(pod.manifest, F_OK) == 0)
		return;
	unmount_all(&pod);
	wait_gone(&pod);
	log_warn("pull given up name=%s", name);
}

static void each_pod(struct puller *p, void (*with)(struct puller *, const char *name))
{
	cleanup_closedir DIR *d = NULL;

	pthread_mutex_lock(&p->lock);
	d = opendir(p->options.state);
	for (struct dirent *x = d ? readdir(d) : NULL; x; x = readdir(d))
		if (name_is_valid(x->d_name))
			with(p, x->d_name);
	pthread_mutex_unlock(&p->lock);
}

void puller_reap(struct puller *p)
{
	each_pod(p, reap_pod);
}

static int mount_overlay(const struct pod *pod, struct err *e)
{
	char options[4 * PATH_SIZE];

	(void)snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", pod->image, pod->upper,
		       pod->work);
	if (mount("overlay", pod->rootfs, "overlay", 0, options) < 0)
		return err_errno(e, -errno, "the overlay at %s", pod->rootfs);
	/* from here on the overlay alone keeps the image */
	if (umount2(pod->image, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return err_errno(e, -errno, "hiding the image's own mount");
	return 0;
}

/* The pod lives already: is it the answer to this pull, too? */
static int again(const struct pod *pod, const char *image, char manifest[static DIGEST_TEXT_SIZE],
		 struct err *e)
{
	cleanup_buf struct buf text;
	size_t n = DIGEST_TEXT_SIZE - 1;

	buf_init(&text, PATH_SIZE + REFERENCE_TEXT_SIZE);
	if (file_read(AT_FDCWD, pod->manifest, &text, NULL) < 0 || text.size != n + 1 + strlen(image) ||
	    memcmp(text.data + n + 1, image, strlen(image)) != 0)
		return err_set(e, -EEXIST, "%s has another image, or is being pulled", pod->rootfs);
	memcpy(manifest, text.data, n);
	manifest[n] = '\0';
	return 0;
}

/* Make the pod's directory anew, with its lock. -EBUSY: it lives. */
static int pod_begin(struct puller *p, struct pod *pod, struct err *e)
{
	int r;

	pthread_mutex_lock(&p->lock);
	r = make_directory(pod->dir, e);
	if (r == 0) {
		pod->lock = take_lock(pod);
		r = pod->lock < 0 ? pod->lock : 0;
	}
	if (r == 0)
		r = make_directory(pod->image, e);
	if (r == 0)
		r = make_directory(pod->upper, e);
	if (r == 0)
		r = make_directory(pod->work, e);
	if (r == 0 && chmod(pod->upper, 0755) < 0) /* becomes the container's root directory */
		r = err_errno(e, -errno, "%s", pod->upper);
	pthread_mutex_unlock(&p->lock);
	return r;
}

static int pod_mount(struct puller *p, struct pod *pod, const char *image, const struct deadline *deadline,
		     char manifest[static DIGEST_TEXT_SIZE], struct err *e)
{
	const struct mount_job job = {image, pod->image, pod->lock, pod->log, deadline};
	char record[DIGEST_TEXT_SIZE + REFERENCE_TEXT_SIZE];
	int r = mount_program_run(&p->options.program, &job, manifest, e);

	if (r < 0)
		return r;
	r = mount_overlay(pod, e);
	if (r == 0) {
		(void)snprintf(record, sizeof(record), "%s\n%s", manifest, image);
		r = file_write(AT_FDCWD, pod->manifest, record, strlen(record), 0600, e);
	}
	if (r < 0)
		unmount_all(pod);
	return r;
}

int puller_pull(struct puller *p, const char *image, const char *bundle, const struct deadline *deadline,
		char manifest[static DIGEST_TEXT_SIZE], struct err *e)
{
	struct reference reference;
	struct pod pod;
	int r = reference_parse(&reference, image, e);

	if (r == 0 && reference.layout)
		r = err_set(e, -EINVAL, "%.256s is not an image of a registry", image);
	if (r == 0)
		r = pod_init(&pod, p, bundle, e);
	if (r < 0)
		return r;
	r = pod_begin(p, &pod, e);
	if (r == -EBUSY)
		return again(&pod, image, manifest, e);
	if (r == 0)
		r = make_rootfs(&pod, bundle, e);
	if (r == 0)
		r = pod_mount(p, &pod, image, deadline, manifest, e);
	if (pod.lock >= 0)
		(void)close(pod.lock); /* if it is mounted, the mounting program has it, too */
	if (r < 0) {
		wait_gone(&pod);
		puller_reap(p);
		return err_prefix(e, r, "%.256s", image);
	}
	log_info("pulled image=%s manifest=%s bundle=%s", image, manifest, bundle);
	return 0;
}

int puller_open(struct puller **out, const struct puller_options *options, struct err *e)
{
	struct puller *p;
	struct statfs fs;
	int r = make_directories(options->state, e);

	if (r < 0)
		return r;
	if (options->program.n_options > MOUNT_PROGRAM_OPTIONS)
		return err_set(e, -E2BIG, "too many options");
	if (statfs(options->state, &fs) < 0)
		return err_errno(e, -errno, "%s", options->state);
	if (fs.f_type != TMPFS_MAGIC)
		return err_set(e, -ENOTSUP,
			       "%s is not on tmpfs: what containers write would lie on storage that the "
			       "host can see",
			       options->state);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->options = *options;
	pthread_mutex_init(&p->lock, NULL);
	each_pod(p, give_up_pod);
	puller_reap(p);
	*out = p;
	return 0;
}

void puller_close(struct puller *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}
