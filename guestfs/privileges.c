/* SPDX-License-Identifier: Apache-2.0
 * Capabilities, Landlock and seccomp. A system call that is not on the list fails with EPERM and does not
 * kill: an intruder gains as little either way, and a C library that tries something new must not take the
 * file system of a running container with it. */
#include "guestfs/privileges.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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

int privileges_keep_mounting(void)
{
	return geteuid() == 0 ? keep_capabilities(BIT(CAP_SYS_ADMIN) | BIT(CAP_DAC_OVERRIDE)) : 0;
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

/* Whatever the arguments are. */
static const int allowed[] = {
	/* descriptors that are there */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(eventfd2),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	/* threads, signals, time */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getcpu),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(wait4),
	/* what the kernel knows anyway */
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrandom),
	SCMP_SYS(sysinfo),
#ifdef SANITIZER
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(getdents),
	SCMP_SYS(getdents64),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(prctl),
	SCMP_SYS(getrlimit),
	SCMP_SYS(prlimit64),
	SCMP_SYS(ioctl),
	SCMP_SYS(personality),
	SCMP_SYS(getppid),
	SCMP_SYS(kill),
	SCMP_SYS(clone),
	SCMP_SYS(ptrace),
	SCMP_SYS(lseek),
	SCMP_SYS(dup2),
#endif
};

/* Threads but no processes; memory but no code in it; signals but only to ourselves. */
static int allow_narrowly(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp no_code = {
		.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0};
	const struct scmp_arg_cmp thread = {.arg = 0,
					    .op = SCMP_CMP_MASKED_EQ,
					    .datum_a = CLONE_VM | CLONE_THREAD,
					    .datum_b = CLONE_VM | CLONE_THREAD};
	const struct scmp_arg_cmp self = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)getpid()};
	const struct scmp_arg_cmp death = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = PR_SET_PDEATHSIG};
	int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &no_code);

	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &no_code);
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread);
	if (r == 0) /* its flags cannot be seen from here; the C library then takes the older one */
		r = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &self);
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, &death);
	return r;
}

/* Calls of another architecture have other numbers, and nobody makes them here by mistake: they end the
 * process. */
static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (r == 0)
		r = allow_narrowly(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
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
	bool has_seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
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
	if (!has_seccomp) {
		log_debug("no filter of system calls here");
		return 0;
	}
	r = filter_calls();
	return r < 0 ? err_errno(e, r, "filtering system calls") : 0;
}
