/* SPDX-License-Identifier: Apache-2.0
 * Sockets of virtual machines that come, go, change, and lie in directories of others. */
#include "chunkstore/hybrid_sockets.h"
#include "chunkstore/chunkstore.h"
#include "proto/base/io.h"
#include "proto/wire/wire.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static struct chunkstore *store;
static struct chunk_server *server;
static struct hybrid_sockets *hybrid;

static int bound(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0, "%s", strerror(errno));
	return fd;
}

static bool connects(const char *path, int *out)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		(void)close(fd);
		return false;
	}
	*out = fd;
	return true;
}

/* Within ten looks. */
static bool appears(const char *path, int *out)
{
	for (int i = 0; i < 100; i++) {
		if (connects(path, out))
			return true;
		(void)usleep(HYBRID_LOOK_MS * 100);
	}
	return false;
}

static bool vanishes(const char *path)
{
	struct stat st;

	for (int i = 0; i < 100; i++) {
		if (lstat(path, &st) < 0 && errno == ENOENT)
			return true;
		(void)usleep(HYBRID_LOOK_MS * 100);
	}
	return false;
}

static char pattern[256], deep[256], root[256];

static void start_looking(void)
{
	const char *const patterns[] = {pattern, deep};
	const struct hybrid_sockets_config sockets = {.patterns = patterns, .n_patterns = 2, .port = 7681};
	struct err e = {""};

	cr_assert_eq(hybrid_sockets_start(&hybrid, &sockets, server, &e), 0, "%s", e.text);
}

static void begin(void)
{
	const struct chunkstore_config config = {.root = root, .cache_max_bytes = 64 << 20};
	const struct chunk_server_config served = {.max_connections_per_peer = 3};
	struct err e = {""};

	scratch_open();
	(void)snprintf(root, sizeof(root), "%s", scratch_path("store"));
	(void)snprintf(pattern, sizeof(pattern), "%s", scratch_path("*/vm.sock"));
	(void)snprintf(deep, sizeof(deep), "%s", scratch_path("*/root/*.hvsock"));
	cr_assert_eq(chunkstore_open(&store, &config, &e), 0, "%s", e.text);
	cr_assert_eq(chunk_server_start(&server, &served, store, &e), 0, "%s", e.text);
	start_looking();
	cr_assert_eq(mkdir(scratch_path("a"), 0755), 0);
}

static void end(void)
{
	hybrid_sockets_stop(hybrid);
	chunk_server_stop(server);
	chunkstore_close(store);
	scratch_close();
}

TestSuite(hybrid_sockets, .init = begin, .fini = end);

/* Hello, and its answer. */
static void greet(int fd)
{
	uint8_t raw[WIRE_HEADER_SIZE], answer[WIRE_HEADER_SIZE];
	struct buf hello;
	struct wire_header h;

	buf_init(&hello, WIRE_MAX_PAYLOAD);
	wire_hello_encode(&hello);
	wire_header_encode(&(struct wire_header){.size = (uint32_t)hello.size, .type = WIRE_HELLO, .id = 1},
			   raw);
	cr_assert_eq(write_full(fd, raw, sizeof(raw)), 0);
	cr_assert_eq(write_full(fd, hello.data, hello.size), 0);
	cr_assert_eq(read_full(fd, answer, sizeof(answer)), 0);
	cr_assert_eq(wire_header_decode(&h, answer, false, NULL), 0);
	cr_assert_eq(h.status, WIRE_OK);
	buf_deinit(&hello);
}

Test(hybrid_sockets, serves_a_machine_that_comes_and_goes)
{
	int machine = bound(scratch_path("a/vm.sock")), fd;
	struct stat st;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	greet(fd);
	cr_assert_eq(stat(scratch_path("a/vm.sock_7681"), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	(void)close(fd);
	(void)close(machine);
	cr_assert_eq(unlink(scratch_path("a/vm.sock")), 0);
	cr_assert(vanishes(scratch_path("a/vm.sock_7681")));
}

Test(hybrid_sockets, replaces_what_a_killed_daemon_left)
{
	int stale = bound(scratch_path("a/vm.sock_7681")), machine, fd;

	(void)close(stale);
	machine = bound(scratch_path("a/vm.sock"));
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	(void)close(machine);
}

Test(hybrid_sockets, ends_with_its_sockets)
{
	int machine = bound(scratch_path("a/vm.sock")), fd;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	hybrid_sockets_stop(hybrid);
	hybrid = NULL;
	cr_assert(vanishes(scratch_path("a/vm.sock_7681")));
	(void)close(machine);
}

Test(hybrid_sockets, bounds_the_connections_of_one_machine)
{
	int machine = bound(scratch_path("a/vm.sock")), fds[4];
	char byte;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fds[0]));
	greet(fds[0]);
	for (int i = 1; i < 3; i++) {
		cr_assert(connects(scratch_path("a/vm.sock_7681"), &fds[i]));
		greet(fds[i]);
	}
	cr_assert(connects(scratch_path("a/vm.sock_7681"), &fds[3]));
	cr_assert_eq(read(fds[3], &byte, 1), 0, "the fourth is closed");
	for (int i = 0; i < 4; i++)
		(void)close(fds[i]);
	(void)close(machine);
}

/* A monitor that was taken over has put a link where our socket belongs. */
Test(hybrid_sockets, does_not_follow_what_lies_in_its_way)
{
	int machine, fd;
	struct stat st;

	cr_assert_eq(symlink(scratch_path("victim"), scratch_path("a/vm.sock_7681")), 0);
	machine = bound(scratch_path("a/vm.sock"));
	(void)usleep(HYBRID_LOOK_MS * 3000);
	cr_assert_not(connects(scratch_path("a/vm.sock_7681"), &fd));
	cr_assert_eq(lstat(scratch_path("victim"), &st), -1);
	cr_assert_eq(lstat(scratch_path("a/vm.sock_7681"), &st), 0);
	cr_assert(S_ISLNK(st.st_mode));
	(void)close(machine);
}

/* Needs root: only it can serve machines of others. */
Test(hybrid_sockets, makes_the_socket_as_the_machines_owner)
{
	int machine, fd;
	struct stat st;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(chmod(scratch_path("."), 0755), 0);
	cr_assert_eq(mkdir(scratch_path("b"), 0700), 0);
	cr_assert_eq(mkdir(scratch_path("c"), 0700), 0);
	machine = bound(scratch_path("b/vm.sock"));
	cr_assert_eq(chown(scratch_path("b/vm.sock"), NOBODY, NOBODY), 0);
	cr_assert_eq(chown(scratch_path("b"), NOBODY, NOBODY), 0);
	cr_assert(appears(scratch_path("b/vm.sock_7681"), &fd));
	cr_assert_eq(stat(scratch_path("b/vm.sock_7681"), &st), 0);
	cr_assert_eq(st.st_uid, NOBODY);
	cr_assert_eq(st.st_gid, NOBODY);
	(void)close(fd);
	(void)close(machine);

	/* the owner may not write there, so neither may we in its name */
	machine = bound(scratch_path("c/vm.sock"));
	cr_assert_eq(chown(scratch_path("c/vm.sock"), NOBODY, NOBODY), 0);
	(void)usleep(HYBRID_LOOK_MS * 3000);
	cr_assert_eq(lstat(scratch_path("c/vm.sock_7681"), &st), -1);
	(void)close(machine);
}

/* Looked for since long before. */
Test(hybrid_sockets, finds_directories_that_appear_late)
{
	int machine, fd;

	(void)usleep(HYBRID_LOOK_MS * 2000);
	cr_assert_eq(mkdir(scratch_path("late"), 0755), 0);
	(void)usleep(HYBRID_LOOK_MS * 1500);
	cr_assert_eq(mkdir(scratch_path("late/root"), 0755), 0);
	(void)usleep(HYBRID_LOOK_MS * 1500);
	machine = bound(scratch_path("late/root/kata.hvsock"));
	cr_assert(appears(scratch_path("late/root/kata.hvsock_7681"), &fd));
	greet(fd);
	(void)close(fd);
	(void)close(machine);
}

Test(hybrid_sockets, goes_with_the_directory)
{
	int machine = bound(scratch_path("a/vm.sock")), fd, again;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	cr_assert_eq(rename(scratch_path("a"), scratch_path(".b")), 0);
	(void)usleep(HYBRID_LOOK_MS * 3000);
	cr_assert_eq(mkdir(scratch_path("a"), 0755), 0);
	(void)close(machine);
	machine = bound(scratch_path("a/vm.sock"));
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &again));
	greet(again);
	greet(fd); /* who is connected stays so */
	(void)close(fd);
	(void)close(again);
	(void)close(machine);
}

Test(hybrid_sockets, makes_it_again_when_somebody_tidied_up)
{
	int machine = bound(scratch_path("a/vm.sock")), fd;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	cr_assert_eq(unlink(scratch_path("a/vm.sock_7681")), 0);
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	greet(fd);
	(void)close(fd);
	(void)close(machine);
}

Test(hybrid_sockets, finds_machines_that_outlived_a_daemon)
{
	int machine = bound(scratch_path("a/vm.sock")), fd;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	hybrid_sockets_stop(hybrid);
	start_looking();
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	greet(fd);
	(void)close(fd);
	(void)close(machine);
}

/* A monitor that was taken over makes its directory lead to another machine's. */
Test(hybrid_sockets, does_not_follow_a_directory_into_another_machine)
{
	struct stat before, after;
	int machine, fd;

	cr_assert_eq(mkdir(scratch_path("victim"), 0755), 0);
	cr_assert_eq(mkdir(scratch_path("victim/root"), 0755), 0);
	machine = bound(scratch_path("victim/root/kata.hvsock"));
	cr_assert(appears(scratch_path("victim/root/kata.hvsock_7681"), &fd));
	cr_assert_eq(lstat(scratch_path("victim/root/kata.hvsock_7681"), &before), 0);
	cr_assert_eq(symlink("../victim/root", scratch_path("a/root")), 0);
	cr_assert_eq(symlink("victim", scratch_path("elsewhere")), 0);
	(void)usleep(HYBRID_LOOK_MS * 4000);
	cr_assert_eq(lstat(scratch_path("victim/root/kata.hvsock_7681"), &after), 0);
	cr_assert_eq(before.st_ino, after.st_ino);
	cr_assert_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	greet(fd);
	(void)close(fd);
	(void)close(machine);
}

/* A name that fits no socket address is not cut: that would be another's. */
Test(hybrid_sockets, makes_no_socket_under_a_name_that_was_cut)
{
	char name[104 + 1];
	struct stat st;
	int machine, fd;

	memset(name, 'x', sizeof(name));
	(void)snprintf(name + 97, sizeof(name) - 97, ".hvsock");
	cr_assert_eq(mkdir(scratch_path("a/root"), 0755), 0);
	cr_assert_eq(chdir(scratch_path("a/root")), 0);
	machine = bound(name);
	(void)usleep(HYBRID_LOOK_MS * 4000);
	for (size_t cut = 1; cut < 6; cut++) {
		char ours[128];

		(void)snprintf(ours, sizeof(ours), "%s_7681", name);
		ours[strlen(ours) - cut] = '\0';
		if (strcmp(ours, name) != 0)
			cr_assert_eq(lstat(ours, &st), -1, "%s", ours);
	}
	cr_assert_eq(chdir("/"), 0);
	(void)close(machine);
	/* and the rest goes on */
	machine = bound(scratch_path("a/vm.sock"));
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	(void)close(machine);
}

/* Who connects all the time does not keep the daemon from finding others. */
Test(hybrid_sockets, finds_machines_while_another_floods)
{
	int machine = bound(scratch_path("a/vm.sock")), other, fd;
	pid_t flooder;

	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	flooder = fork();
	if (flooder == 0) {
		for (;;)
			if (connects(scratch_path("a/vm.sock_7681"), &fd))
				(void)close(fd);
	}
	cr_assert_gt(flooder, 0);
	cr_assert_eq(mkdir(scratch_path("b"), 0755), 0);
	other = bound(scratch_path("b/vm.sock"));
	cr_assert(appears(scratch_path("b/vm.sock_7681"), &fd));
	greet(fd);
	(void)kill(flooder, SIGKILL);
	(void)waitpid(flooder, NULL, 0);
	(void)close(fd);
	(void)close(other);
	(void)close(machine);
}

#define MANY 2000

Test(hybrid_sockets, serves_thousands, .timeout = 120)
{
	struct rlimit files;
	char path[64];
	int fd;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	if (files.rlim_max < 2 * MANY)
		cr_skip_test("needs %d descriptors", 2 * MANY);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), "vm%d", i);
		cr_assert_eq(mkdir(scratch_path(path), 0755), 0);
		(void)snprintf(path, sizeof(path), "vm%d/vm.sock", i);
		(void)close(bound(scratch_path(path)));
	}
	for (int i = 0; i < MANY; i += 37) {
		(void)snprintf(path, sizeof(path), "vm%d/vm.sock_7681", i);
		cr_assert(appears(scratch_path(path), &fd), "%s", path);
		greet(fd);
		(void)close(fd);
	}
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), "vm%d/vm.sock", i);
		cr_assert_eq(unlink(scratch_path(path)), 0);
	}
	for (int i = 0; i < MANY; i += 37) {
		(void)snprintf(path, sizeof(path), "vm%d/vm.sock_7681", i);
		cr_assert(vanishes(scratch_path(path)), "%s", path);
	}
}

/* A monitor gives its socket away after it has made it: Firecracker's jailer, for one. */
Test(hybrid_sockets, follows_a_change_of_owner)
{
	int machine, fd;
	struct stat st;

	if (geteuid() != 0)
		cr_skip_test("needs root");
	machine = bound(scratch_path("a/vm.sock"));
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	(void)close(fd);
	cr_assert_eq(chown(scratch_path("a"), NOBODY, NOBODY), 0);
	cr_assert_eq(chown(scratch_path("a/vm.sock"), NOBODY, NOBODY), 0);
	for (int i = 0; i < 100; i++) {
		(void)usleep(HYBRID_LOOK_MS * 100);
		if (stat(scratch_path("a/vm.sock_7681"), &st) == 0 && st.st_uid == NOBODY)
			break;
	}
	cr_assert_eq(st.st_uid, NOBODY);
	cr_assert(appears(scratch_path("a/vm.sock_7681"), &fd));
	greet(fd);
	(void)close(fd);
	(void)close(machine);
}
