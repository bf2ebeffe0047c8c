/* SPDX-License-Identifier: Apache-2.0
 * Answers api.ImagePullService/PullImage by mounting, hands all else on to the real Confidential Data Hub.
 * This process has neither keys nor plaintext; the programs that mount have, each those of its image. */
#include "guestfs/pods/serve.h"
#include "guestfs/kernel_options.h"
#include "guestfs/options.h"
#include "guestfs/pods/pull.h"
#include "guestfs/pods/relay.h"
#include "guestfs/service_manager.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/ttrpc/protobuf.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/un.h>

#define REAP_MS 1000
#define BACKLOG 16
#define MOUNT_OPTIONS 62
#define BUNDLE_SIZE 512

static const char help[] =
	"Usage: cocoon-guestfs serve [OPTION]...\n"
	"\n"
	"Runs in the virtual machine of a pod. Kata's agent asks it to pull images; it mounts them, sealed "
	"and\n"
	"streamed from the host, at once. What else the agent asks goes on to the Confidential Data Hub.\n"
	"\n"
	"  --listen ADDRESS   where the agent connects (unix:/run/confidential-containers/cdh.sock)\n"
	"  --cdh ADDRESS      where the real Confidential Data Hub listens instead; without it there is "
	"none\n"
	"  --bundles DIR      where containers' bundles are (/run/kata-containers)\n"
	"  --state DIR        for what belongs to a pod, on tmpfs (/run/cocoon/pods)\n"
	"  --policy FILE      which images may be mounted; must be given\n"
	"  --key, --host, --front, --cache-size, --timeout, --wait, --log-level\n"
	"                     of each mount, as cocoon-guestfs --help tells\n"
	"  --help\n"
	"\n"
	"Signals: TERM and INT end it; what is mounted stays.\n"
	"\n"
	"Example:\n"
	"  cocoon-guestfs serve --cdh unix:/run/confidential-containers/cdh-real.sock --host vsock:2:7681 "
	"\\\n"
	"    --policy /etc/cocoon/policy.json --key recipient:/etc/cocoon/guest.pem\n";

enum { PULL_IMAGE_URL = 1, PULL_BUNDLE_PATH = 2 }; /* of api.ImagePullRequest */
enum { PULL_MANIFEST_DIGEST = 1 };		   /* of api.ImagePullResponse */

struct serve {
	struct address listen, cdh;
	bool has_cdh;
	const char *mount[MOUNT_OPTIONS + 2]; /* options of each mount, borrowed from argv */
	struct puller_options options;
	struct kernel_use use;
	struct address host;
};

static int pull_image(void *arg, const struct ttrpc_request *request, struct buf *reply, struct err *e)
{
	char image[REFERENCE_TEXT_SIZE] = "", bundle[BUNDLE_SIZE] = "", manifest[DIGEST_TEXT_SIZE];
	struct bytes b = request->payload;
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&b, &f, e)) == 0) {
		if (f.number == PULL_IMAGE_URL)
			r = protobuf_text(image, sizeof(image), &f, "image_url", e);
		else if (f.number == PULL_BUNDLE_PATH)
			r = protobuf_text(bundle, sizeof(bundle), &f, "bundle_path", e);
		if (r < 0)
			return r;
	}
	if (r == PROTOBUF_END)
		r = puller_pull(arg, image, bundle, manifest, e);
	if (r < 0)
		return r;
	protobuf_put_bytes(reply, PULL_MANIFEST_DIGEST, manifest, strlen(manifest));
	return buf_failed(reply) ? -ENOMEM : 0;
}

static int listen_at(const struct address *a, struct err *e)
{
	cleanup_close int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;
	char *slash;

	if (a->sa.sa_family != AF_UNIX)
		return err_set(e, -EINVAL, "--listen is unix:PATH");
	memcpy(&un, &a->storage, sizeof(un));
	(void)unlink(un.sun_path);
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

static int run(const struct serve *s, struct err *e)
{
	struct relay_options options = {
		.service = "api.ImagePullService",
		.method = "PullImage",
		.call = pull_image,
		.cdh = s->has_cdh ? &s->cdh : NULL,
	};
	struct puller *puller = NULL;
	struct relay *relay = NULL;
	cleanup_close int signals = -1, manager = service_manager_connect();
	struct pollfd p;
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	r = signals < 0 ? err_errno(e, -errno, "signalfd") : kernel_options_check(&s->use, kernel_ask, e);
	if (r == 0)
		r = puller_open(&puller, &s->options, e);
	if (r == 0)
		r = listen_at(&s->listen, e);
	options.arg = puller;
	if (r >= 0)
		r = relay_start(&relay, r, &options, e);
	if (r == 0)
		service_manager_ready(manager);
	p = (struct pollfd){.fd = signals, .events = POLLIN};
	while (r == 0 && poll(&p, 1, REAP_MS) <= 0)
		puller_reap(puller);
	relay_stop(relay);
	puller_close(puller);
	return r;
}

/* Options of each mount are checked once, here, as the mount will read them. */
static int check_mount(struct serve *s, struct err *e)
{
	char *argv[MOUNT_OPTIONS + 6];
	struct options o;
	int argc = 0, r;

	argv[argc++] = (char[]){"cocoon-guestfs"};
	for (size_t i = 0; i < s->options.n_mount; i++)
		argv[argc++] = (char *)(uintptr_t)s->mount[i];
	argv[argc++] = (char[]){"check.invalid/check:1"};
	argv[argc++] = (char[]){"/"};
	argv[argc] = NULL;
	optind = 0;
	r = options_parse(&o, argc, argv, e);
	if (r == 0 && !o.has_policy)
		r = err_set(e, -EINVAL,
			    "no --policy was given: the host names the images, the policy says which");
	if (r == 0)
		r = address_parse(&s->host, o.host, e);
	if (r == 0)
		log_init("cocoon-guestfs", o.log_level);
	s->use = (struct kernel_use){.front = o.front.kind, .host = &s->host, .pods = true};
	options_deinit(&o);
	return r;
}

static int add_mount_option(struct serve *s, const char *name, const char *value, struct err *e)
{
	if (s->options.n_mount + 2 > MOUNT_OPTIONS)
		return err_set(e, -E2BIG, "too many options");
	s->mount[s->options.n_mount++] = name;
	s->mount[s->options.n_mount++] = value;
	return 0;
}

static int parse(struct serve *s, int argc, char **argv, struct err *e)
{
	static const struct option names[] = {
		{"listen", required_argument, NULL, 'l'},
		{"cdh", required_argument, NULL, 'c'},
		{"bundles", required_argument, NULL, 'b'},
		{"state", required_argument, NULL, 's'},
		{"policy", required_argument, NULL, 'm'},
		{"key", required_argument, NULL, 'm'},
		{"host", required_argument, NULL, 'm'},
		{"front", required_argument, NULL, 'm'},
		{"cache-size", required_argument, NULL, 'm'},
		{"timeout", required_argument, NULL, 'm'},
		{"wait", required_argument, NULL, 'm'},
		{"log-level", required_argument, NULL, 'm'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static char flags[sizeof(names) / sizeof(names[0])][16];
	int c, which = 0, r = address_parse(&s->listen, "unix:/run/confidential-containers/cdh.sock", e);

	while (r == 0 && (c = getopt_long(argc, argv, "h", names, &which)) != -1) {
		switch (c) {
		case 'l':
			r = address_parse(&s->listen, optarg, e);
			break;
		case 'c':
			r = address_parse(&s->cdh, optarg, e);
			s->has_cdh = true;
			break;
		case 'b':
			s->options.bundles = optarg;
			break;
		case 's':
			s->options.state = optarg;
			break;
		case 'm':
			(void)snprintf(flags[which], sizeof(flags[which]), "--%s", names[which].name);
			r = add_mount_option(s, flags[which], optarg, e);
			break;
		case 'h':
			(void)fputs(help, stdout);
			return OPTIONS_DONE;
		default:
			return err_set(e, -EINVAL, "an unknown option; see cocoon-guestfs serve --help");
		}
	}
	if (r == 0 && optind != argc)
		r = err_set(e, -EINVAL, "\"%.64s\" is one word too many; see cocoon-guestfs serve --help",
			    argv[optind]);
	return r < 0 ? r : check_mount(s, e);
}

int serve_main(int argc, char **argv)
{
	char exe[PATH_MAX];
	struct serve s = {
		.options = {.guestfs = exe, .bundles = "/run/kata-containers", .state = "/run/cocoon/pods"}};
	struct err e = {""};
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int r;

	exe[n > 0 ? n : 0] = '\0';
	s.options.mount = s.mount;
	r = parse(&s, argc, argv, &e);
	if (r == OPTIONS_DONE)
		return EXIT_GOOD;
	if (r < 0) {
		(void)fprintf(stderr, "cocoon-guestfs serve: %s\n", e.text);
		return EXIT_USAGE;
	}
	r = run(&s, &e);
	if (r < 0)
		(void)fprintf(stderr, "cocoon-guestfs serve: %s\n", e.text);
	return r < 0 ? EXIT_SYSTEM : EXIT_GOOD;
}
