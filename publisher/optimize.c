/* SPDX-License-Identifier: Apache-2.0
 * Two runs on two fresh mounts. The first one reads page by page: what the program touches, in that order.
 * The second reads ahead as guests do, and what it has beyond the first goes behind it: the kernel will ask
 * for it, but no program waits for it. */
#include "publisher/optimize.h"
#include "guestfs/recorder.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/base/remove_tree.h"
#include "publisher/progress.h"
#include "publisher/sealed_source.h"
#include "publisher/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORDING_LEVEL 1      /* of zstd: this image is thrown away */
#define EXACT_READ_AHEAD 4096u /* one page: what is touched and no more, in fewer requests than without */
#define GUEST_READ_AHEAD (128u << 10) /* the kernel's default */
#define CACHE_BYTES (256u << 20)

struct recording {
	const struct optimize_options *o;
	char directory[PATH_MAX];
	struct secret key;
	struct reference image;
	char user[32];
};

static int make_directory(struct recording *r, struct err *e)
{
	const char *temp = getenv("TMPDIR");
	int n = snprintf(r->directory, sizeof(r->directory), "%s/cocoon-optimize.XXXXXX",
			 temp && *temp ? temp : "/var/tmp");

	if (n < 0 || (size_t)n >= sizeof(r->directory) - 16)
		return err_set(e, -ENAMETOOLONG, "TMPDIR is too long");
	if (!mkdtemp(r->directory))
		return err_errno(e, -errno, "%s", r->directory);
	return 0;
}

/* A directory of ours below, made when it is not there; PATH_MAX bytes. */
static int make_below(const struct recording *r, const char *name, char *path, struct err *e)
{
	(void)snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 16, r->directory, name);
	return mkdir(path, 0700) < 0 && errno != EEXIST ? err_errno(e, -errno, "%s", path) : 0;
}

static int seal(struct recording *r, struct err *e)
{
	struct convert_options o = r->o->convert;
	struct convert_result result;
	char name[PATH_MAX + 16];
	int error;

	(void)snprintf(name, sizeof(name), "oci:%s/image", r->directory);
	error = reference_parse(&o.to, name, e);
	if (error == 0)
		error = secret_random(&r->key);
	if (error < 0)
		return error;
	o.image_key = &r->key;
	o.image_key_file = NULL;
	o.domain_file = NULL;
	o.n_recipients = 0;
	o.startup = NULL;
	o.mount_from = NULL;
	o.seal = (struct seal_options){RECORDING_LEVEL, PADDING_NONE};
	error = convert(&o, &result, e);
	r->image = o.to;
	(void)snprintf(r->user, sizeof(r->user), "%s", result.user);
	return error;
}

static int find_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *digest, struct err *e)
{
	const struct recording *r = arg;

	(void)manifest;
	(void)descriptor;
	(void)digest;
	(void)e;
	*key = r->key;
	return 0;
}

static int open_image(struct recording *r, struct image **out, struct err *e)
{
	struct image_options o = {.cache_bytes = CACHE_BYTES, .find_key = find_key, .find_key_arg = r};
	struct source *source;
	int error = sealed_source_open(&source, &r->image, &r->o->convert.platform, &r->o->convert.remote, e);

	if (error < 0)
		return error;
	error = image_open(out, source, &o, e);
	if (error < 0)
		source->ops->close(source);
	return error;
}

static int run_on(struct recording *r, struct image *image, const char *mount, struct err *e)
{
	cleanup_buf struct buf config = {.max = MAX_CONFIG_SIZE};
	char scratch[PATH_MAX];
	struct workload w;
	int error = image_config(image, &config, e);

	if (error == 0)
		error = make_below(r, "scratch", scratch, e);
	if (error == 0)
		error = workload_init(&w, &config, r->o->command, r->user, e);
	if (error < 0)
		return error;
	error = workload_run(&w, mount, scratch, r->o->period_ms, e);
	workload_deinit(&w);
	return error;
}

static int record_run(struct recording *r, unsigned read_ahead, struct buf *to, struct record_stats *stats,
		      struct err *e)
{
	struct image *image;
	struct recorder *recorder;
	char mount[PATH_MAX];
	int error = make_below(r, "mount", mount, e), stopped;

	if (error == 0)
		error = open_image(r, &image, e);
	if (error < 0)
		return error;
	error = recorder_start(&recorder, image, mount, read_ahead, e);
	if (error == 0) {
		error = run_on(r, image, mount, e);
		stopped = recorder_stop(recorder, to, stats, error < 0 ? NULL : e);
		error = error < 0 ? error : stopped;
	}
	image_close(image);
	return error;
}

static int record_both(struct recording *r, struct buf *to, struct optimize_result *out, struct err *e)
{
	struct record_stats exact, ahead;
	int error = record_run(r, EXACT_READ_AHEAD, to, &exact, e);

	if (error == 0) {
		buf_u8(to, '\n'); /* the next part */
		error = record_run(r, GUEST_READ_AHEAD, to, &ahead, e);
	}
	if (error < 0)
		return error;
	if (exact.left_out)
		log_warn("%llu names with a tab or a newline cannot be recorded",
			 (unsigned long long)exact.left_out);
	if (ahead.pages < exact.pages)
		log_warn("the second run touched less than the first: give a longer --period");
	out->touched_bytes = exact.pages * BLOCK_SIZE;
	out->ahead_bytes = ahead.pages > exact.pages ? (ahead.pages - exact.pages) * BLOCK_SIZE : 0;
	out->reads = ahead.reads;
	return buf_failed(to) ? err_set(e, -E2BIG, "the record is over %u MiB", RECORD_MAX >> 20) : 0;
}

int optimize_record(const struct optimize_options *o, struct buf *record, struct optimize_result *out,
		    struct err *e)
{
	struct recording r = {.o = o};
	int error;

	/* what is mounted for a run goes with us, however we end */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(e, -errno, "a mount namespace: running an image takes root");
	error = make_directory(&r, e);
	if (error < 0)
		return error;
	error = seal(&r, e);
	if (error == 0)
		error = record_both(&r, record, out, e);
	(void)remove_tree(AT_FDCWD, r.directory, NULL);
	secret_wipe(&r.key);
	return error;
}
