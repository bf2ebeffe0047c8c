/* SPDX-License-Identifier: Apache-2.0
 * Capabilities, Landlock and seccomp. A system call that is not on the list fails with EPERM and does not
 * kill: an intruder gains as little either way, and a C library that tries something new must not take the
 * file system of a running container with it. */
#include "guestfs/privileges.h"
#include "crypto/sha256.h"
#include "guestfs/call_filter.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(x) (1u << (x))

/* As containerd and kubelet have it: a Guaranteed pod's processes are at -997, and without us they have no
 * files. */
#define OOM_SCORE "-999"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZER 1
#endif
#endif

void privileges_spare_from_oom(void)
{
	cleanup_close int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char now[16] = "";
	int r = fd < 0 || read(fd, now, sizeof(now) - 1) < 0 ? -errno : 0;

	if (r == 0 && strtol(now, NULL, 10) > strtol(OOM_SCORE, NULL, 10))
		r = pwrite_full(fd, OOM_SCORE, sizeof(OOM_SCORE) - 1, 0);
	if (r < 0)
		log_debug("as likely to be killed as others when memory is short error=%d", -r);
}

/* Every capability but `kept` goes, for good. All that could be kept are in the first word. */
static int keep_capabilities(uint32_t kept)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (cap >= 32 || !(kept & BIT(cap)))
			/* refused without CAP_SETPCAP: then there is less to drop */
			(void)prctl(PR_CAPBSET_DROP, cap);
	data[0].effective &= kept;
	data[0].permitted &= kept;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){0};
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* struct landlock_ruleset_attr of ABI 6; an older kernel is told how much of it to read. */
struct ruleset {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

/* A leak checker lists the threads in /proc, and a report has names from the program's file. */
static void allow_sanitizer(int ruleset)
{
#ifdef SANITIZER
	cleanup_close int root = open("/", O_PATH | O_CLOEXEC);
	const struct landlock_path_beneath_attr reading = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
		.parent_fd = root,
	};

	(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &reading, 0);
#else
	(void)ruleset;
#endif
}

/* No file is opened, made or changed any more, no TCP port used, no abstract socket and no process outside
 * reached. 0, or why not. */
static int leave_files(void)
{
	static const uint64_t fs_rights[] = {0,		  BIT(13) - 1, BIT(14) - 1,
					     BIT(15) - 1, BIT(15) - 1, BIT(16) - 1};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	cleanup_close int fd = -1;
	struct ruleset rules;

	if (abi < 1)
		return abi < 0 ? -errno : -ENOSYS;
	rules = (struct ruleset){
		.handled_access_fs = fs_rights[abi < 5 ? abi : 5],
		.handled_access_net = abi >= 4 ? BIT(2) - 1 : 0,
		.scoped = abi >= 6 ? BIT(2) - 1 : 0,
	};
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules,
			  abi >= 6   ? sizeof(rules)
			  : abi >= 4 ? 2 * sizeof(uint64_t)
				     : sizeof(uint64_t),
			  0);
	if (fd < 0)
		return -errno;
	allow_sanitizer(fd);
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}

#define COUNT(rules) (sizeof(rules) / sizeof((rules)[0]))

/* Both processes: descriptors that are there; threads but no processes; memory but no code in it. */
static const struct call_rule common[] = {
	{.number = SYS_read},
	{.number = SYS_write},
	{.number = SYS_futex},
	{.number = SYS_close},
	{.number = SYS_fcntl},
	{.number = SYS_sendmsg},
	{.number = SYS_recvfrom},
	{.number = SYS_recvmsg},
	/* memory */
	{.number = SYS_brk},
	{.number = SYS_mmap, .argument = 2, .mask = PROT_EXEC, .value = 0},
	{.number = SYS_mprotect, .argument = 2, .mask = PROT_EXEC, .value = 0},
	{.number = SYS_munmap},
	{.number = SYS_mremap},
	{.number = SYS_madvise},
	/* threads, signals, time */
	{.number = SYS_clone, .mask = CLONE_VM | CLONE_THREAD, .value = CLONE_VM | CLONE_THREAD},
	{.number = SYS_clone3, .error = ENOSYS}, /* its flags cannot be seen from here; then clone is taken */
	{.number = SYS_set_robust_list},
	{.number = SYS_rseq},
	{.number = SYS_sched_yield},
	{.number = SYS_sched_getaffinity},
	{.number = SYS_getcpu},
	{.number = SYS_rt_sigaction},
	{.number = SYS_rt_sigprocmask},
	{.number = SYS_rt_sigreturn},
	{.number = SYS_sigaltstack},
	{.number = SYS_restart_syscall},
	{.number = SYS_clock_gettime},
	{.number = SYS_clock_nanosleep},
	{.number = SYS_nanosleep},
	{.number = SYS_gettimeofday},
	{.number = SYS_exit},
	{.number = SYS_exit_group},
	/* what the kernel knows anyway */
	{.number = SYS_getpid},
	{.number = SYS_gettid},
	{.number = SYS_getuid},
	{.number = SYS_geteuid},
	{.number = SYS_getgid},
	{.number = SYS_getegid},
	{.number = SYS_getrandom},
	{.number = SYS_sysinfo},
#ifdef SANITIZER
	{.number = SYS_openat},
	{.number = SYS_getdents64},
	{.number = SYS_readlinkat},
	{.number = SYS_fstat},
	{.number = SYS_newfstatat},
	{.number = SYS_prctl},
	{.number = SYS_prlimit64},
	{.number = SYS_ioctl},
	{.number = SYS_personality},
	{.number = SYS_getppid},
	{.number = SYS_kill},
	{.number = SYS_clone},
	{.number = SYS_ptrace},
	{.number = SYS_lseek},
	{.number = SYS_dup3},
#ifdef SYS_open
	{.number = SYS_open},
	{.number = SYS_getdents},
	{.number = SYS_readlink},
	{.number = SYS_getrlimit},
	{.number = SYS_dup2},
#endif
#endif
};

/* The process with the keys. */
static const struct call_rule serving[] = {
	{.number = SYS_readv},	  {.number = SYS_writev},
	{.number = SYS_ppoll},
#ifdef SYS_poll
	{.number = SYS_poll},
#endif
	{.number = SYS_eventfd2}, {.number = SYS_sendto},
	{.number = SYS_shutdown}, {.number = SYS_getsockopt},
	{.number = SYS_mlock},	  {.number = SYS_munlock},
	{.number = SYS_wait4},	  {.number = SYS_prctl, .mask = ~0u, .value = PR_SET_PDEATHSIG},
};

/* The keeper: what is there is opened, and nothing made but mounts and streams to a host. */
static const struct call_rule mounting[] = {
	{.number = SYS_openat, .argument = 2, .mask = O_CREAT, .value = 0},
	{.number = SYS_fstat},
	{.number = SYS_newfstatat},
	{.number = SYS_statx},
	{.number = SYS_readlinkat},
#ifdef SYS_readlink
	{.number = SYS_readlink},
#endif
	{.number = SYS_ioctl}, /* of loop devices */
	{.number = SYS_fsopen},
	{.number = SYS_fsconfig},
	{.number = SYS_fsmount},
	{.number = SYS_move_mount},
	{.number = SYS_mount},
	{.number = SYS_umount2},
	{.number = SYS_connect},
	{.number = SYS_setsockopt, .argument = 1, .mask = ~0u, .value = IPPROTO_TCP},
};

/* Signals only to ourselves, and one rule more where that is not NULL. */
static int filter_calls(const struct call_rule *rules, size_t n, const struct call_rule *more)
{
	const struct call_rule self = {.number = SYS_tgkill, .mask = ~0u, .value = (uint32_t)getpid()};
	struct call_filter filter;

	call_filter_init(&filter);
	call_filter_add(&filter, common, COUNT(common));
	call_filter_add(&filter, &self, 1);
	call_filter_add(&filter, rules, n);
	if (more)
		call_filter_add(&filter, more, 1);
	return call_filter_load(&filter);
}

int privileges_keep_mounting(int family)
{
	const struct call_rule host = {.number = SYS_socket, .mask = ~0u, .value = (uint32_t)family};
	int r;

	if (geteuid() != 0)
		return 0;
	r = keep_capabilities(BIT(CAP_SYS_ADMIN) | BIT(CAP_DAC_OVERRIDE));
	if (r < 0)
		return r;
	r = filter_calls(mounting, COUNT(mounting), &host);
	return r == -ENOSYS ? 0 : r;
}

/* What is opened at its first use must be open by now: OpenSSL's configuration, the random bytes that make
 * jansson's tables unpredictable. The library that ends threads is linked (guestfs/CMakeLists.txt). */
static void prepare_libraries(void)
{
	struct digest unused;

	json_object_seed(0);
	(void)OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
	(void)sha256(&unused, "", 0);
}

int privileges_drop(struct err *e)
{
	int r;

	prepare_libraries();
	r = keep_capabilities(0);
	if (r < 0)
		return err_errno(e, r, "dropping capabilities");
	r = leave_files();
	if (r == -ENOSYS || r == -EOPNOTSUPP) /* not in this kernel, not turned on */
		log_debug("no landlock here error=%d", -r);
	else if (r < 0)
		return err_errno(e, r, "leaving all files");
	r = filter_calls(serving, COUNT(serving), NULL);
	if (r == -ENOSYS) {
		log_debug("no filter of system calls here");
		return 0;
	}
	return r < 0 ? err_errno(e, r, "filtering system calls") : 0;
}
