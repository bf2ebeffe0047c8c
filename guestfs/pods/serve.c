/* SPDX-License-Identifier: Apache-2.0
 * The command line. Its process becomes the doorkeeper, which starts it again as the door. */
#include "guestfs/pods/serve.h"
#include "guestfs/kernel_options.h"
#include "guestfs/options.h"
#include "guestfs/pods/door.h"
#include "guestfs/pods/doorkeeper.h"
#include "proto/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOUNT_OPTIONS (MOUNT_PROGRAM_OPTIONS - 2)

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
	"  --unsealed WHAT    refuse (default), or cdh: an image that is not sealed is pulled by the real\n"
	"                     Confidential Data Hub, under its own policy\n"
	"  --key, --host, --tls-identity, --front, --cache-size, --timeout, --wait, --log-level\n"
	"                     of each mount, as cocoon-guestfs --help tells; --key cdh is the real\n"
	"                     Confidential Data Hub\n"
	"  --help\n"
	"\n"
	"Signals: TERM and INT end it; what is mounted stays. HUP starts the part anew that does the work,\n"
	"which may be a newer program by now; the agent keeps its connection.\n"
	"\n"
	"Example:\n"
	"  cocoon-guestfs serve --cdh unix:/run/confidential-containers/cdh-real.sock --host vsock:2:7681 "
	"\\\n"
	"    --policy /etc/cocoon/policy.json --key cdh\n";

struct serve {
	const char *listen_text, *cdh_text; /* NULL: there is none */
	struct address listen, cdh;
	bool is_door;			      /* started by the doorkeeper */
	const char *mount[MOUNT_OPTIONS + 2]; /* options of each mount, borrowed */
	char *cdh_key;			      /* owned; what "--key cdh" stands for here */
	struct door_options door;
	struct kernel_use use;
	struct address host;
};

/* Options of each mount are checked once, here, as the mount will read them. */
static int check_mount(struct serve *s, struct err *e)
{
	const struct mount_program *program = &s->door.puller.program;
	char *argv[MOUNT_OPTIONS + 6];
	struct options o;
	int argc = 0, r;

	argv[argc++] = (char[]){"cocoon-guestfs"};
	for (size_t i = 0; i < program->n_options; i++)
		argv[argc++] = (char *)(uintptr_t)program->options[i];
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
	size_t *n = &s->door.puller.program.n_options;

	if (*n + 2 > MOUNT_OPTIONS)
		return err_set(e, -E2BIG, "too many options");
	s->mount[(*n)++] = name;
	s->mount[(*n)++] = value;
	return 0;
}

/* "--key cdh" is the hub behind the door. In front of it stands the door itself, which must not ask itself.
 */
static int resolve_cdh_key(struct serve *s, struct err *e)
{
	for (size_t i = 0; i < s->door.puller.program.n_options; i += 2) {
		const char **value = &s->mount[i + 1];

		if (strcmp(s->mount[i], "--key") != 0)
			continue;
		if (strcmp(*value, "cdh") == 0 && s->cdh_key)
			*value = s->cdh_key;
		else if (strcmp(*value, "cdh") == 0)
			return err_set(e, -EINVAL, "--key cdh needs --cdh, the hub that has the key");
		if (strncmp(*value, "cdh:", 4) == 0 && strcmp(*value + 4, s->listen_text) == 0)
			return err_set(e, -EINVAL, "the key would be asked for at --listen, of itself");
	}
	return 0;
}

static int check(struct serve *s, struct err *e)
{
	int r = address_parse(&s->listen, s->listen_text, e);

	if (r == 0 && s->listen.sa.sa_family != AF_UNIX)
		r = err_set(e, -EINVAL, "--listen is unix:PATH");
	if (r == 0 && s->cdh_text) {
		r = address_parse(&s->cdh, s->cdh_text, e);
		if (r == 0 && s->cdh.sa.sa_family != AF_UNIX)
			r = err_set(e, -EINVAL, "--cdh is unix:PATH: outside of this machine is the host");
		s->door.cdh = &s->cdh;
		if (r == 0 && asprintf(&s->cdh_key, "cdh:%s", s->cdh_text) < 0) {
			s->cdh_key = NULL;
			r = err_set(e, -ENOMEM, "out of memory");
		}
	}
	if (r == 0 && s->door.unsealed_to_cdh && !s->door.cdh)
		r = err_set(e, -EINVAL, "--unsealed cdh needs --cdh");
	if (r == 0)
		r = resolve_cdh_key(s, e);
	return r < 0 ? r : check_mount(s, e);
}

static int set_unsealed(struct serve *s, const char *value, struct err *e)
{
	s->door.unsealed_to_cdh = strcmp(value, "cdh") == 0;
	return s->door.unsealed_to_cdh || strcmp(value, "refuse") == 0
		       ? 0
		       : err_set(e, -EINVAL, "--unsealed takes refuse or cdh");
}

static int parse(struct serve *s, int argc, char **argv, struct err *e)
{
	static const struct option names[] = {
		{"listen", required_argument, NULL, 'l'},
		{"cdh", required_argument, NULL, 'c'},
		{"bundles", required_argument, NULL, 'b'},
		{"state", required_argument, NULL, 's'},
		{"unsealed", required_argument, NULL, 'u'},
		{"policy", required_argument, NULL, 'm'},
		{"key", required_argument, NULL, 'm'},
		{"host", required_argument, NULL, 'm'},
		{"tls-identity", required_argument, NULL, 'm'},
		{"front", required_argument, NULL, 'm'},
		{"cache-size", required_argument, NULL, 'm'},
		{"timeout", required_argument, NULL, 'm'},
		{"wait", required_argument, NULL, 'm'},
		{"log-level", required_argument, NULL, 'm'},
		{"help", no_argument, NULL, 'h'},
		{"door", no_argument, NULL, 'd'}, /* the doorkeeper's own */
		{NULL, 0, NULL, 0},
	};
	static char flags[sizeof(names) / sizeof(names[0])][16];
	int c, which = 0, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "h", names, &which)) != -1) {
		switch (c) {
		case 'l':
			s->listen_text = optarg;
			break;
		case 'c':
			s->cdh_text = optarg;
			break;
		case 'b':
			s->door.puller.bundles = optarg;
			break;
		case 's':
			s->door.puller.state = optarg;
			break;
		case 'u':
			r = set_unsealed(s, optarg, e);
			break;
		case 'm':
			(void)snprintf(flags[which], sizeof(flags[which]), "--%s", names[which].name);
			r = add_mount_option(s, flags[which], optarg, e);
			break;
		case 'd':
			s->is_door = true;
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
	return r < 0 ? r : check(s, e);
}

static int keep_door(const struct serve *s, int argc, char **argv, struct err *e)
{
	char **door = calloc((size_t)argc + 3, sizeof(*door));
	const struct doorkeeper_options options = {
		.listen = &s->listen, .program = s->door.puller.program.path, .argv = door};
	int r;

	if (!door)
		return err_set(e, -ENOMEM, "out of memory");
	door[0] = (char[]){"cocoon-guestfs"};
	door[1] = (char[]){"serve"};
	door[2] = (char[]){"--door"};
	memcpy(door + 3, argv + 1, (size_t)(argc - 1) * sizeof(*door));
	r = doorkeeper_run(&options, e);
	free(door);
	return r;
}

static int run(const struct serve *s, int argc, char **argv, struct err *e)
{
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	if (!s->is_door)
		return keep_door(s, argc, argv, e);
	r = kernel_options_check(&s->use, kernel_ask, e);
	if (r == 0)
		r = door_run(&s->door, DOOR_LISTENER, DOOR_READY, e);
	return r;
}

int serve_main(int argc, char **argv)
{
	char exe[PATH_MAX];
	struct serve s = {.listen_text = KEY_CDH_ADDRESS,
			  .door.puller = {.program.path = exe,
					  .bundles = "/run/kata-containers",
					  .state = "/run/cocoon/pods"}};
	struct err e = {""};
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int r;

	exe[n > 0 ? n : 0] = '\0';
	s.door.puller.program.options = s.mount;
	r = parse(&s, argc, argv, &e);
	if (r == 0) {
		r = run(&s, argc, argv, &e) < 0 ? EXIT_SYSTEM : EXIT_GOOD;
	} else {
		r = r == OPTIONS_DONE ? EXIT_GOOD : EXIT_USAGE;
	}
	if (e.text[0] && r != EXIT_GOOD)
		(void)fprintf(stderr, "cocoon-guestfs serve: %s\n", e.text);
	free(s.cdh_key);
	return r;
}
