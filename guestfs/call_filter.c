/* SPDX-License-Identifier: Apache-2.0
 * The program compares the number with one rule after the other; the accumulator holds the number wherever a
 * rule begins. */
#include "guestfs/call_filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#else
#error "which AUDIT_ARCH_… of linux/audit.h is this?"
#endif

#define X32 0x40000000u /* x86-64's second set of numbers has this bit */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half of an argument comes first");

static void put(struct call_filter *f, struct sock_filter instruction)
{
	f->full |= f->n == CALL_FILTER_SIZE;
	if (!f->full)
		f->program[f->n++] = instruction;
}

static void put_load(struct call_filter *f, size_t offset)
{
	put(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* Go on behind the next `n` instructions unless the accumulator is `value`. */
static void put_unless_equal(struct call_filter *f, uint32_t value, uint8_t n)
{
	put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n));
}

static void put_return(struct call_filter *f, uint32_t action)
{
	put(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

void call_filter_init(struct call_filter *f)
{
	f->n = 0;
	f->full = false;
	put_load(f, offsetof(struct seccomp_data, arch));
	put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
	put_return(f, SECCOMP_RET_KILL_PROCESS);
	put_load(f, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1));
	put_return(f, SECCOMP_RET_KILL_PROCESS);
#endif
}

void call_filter_add(struct call_filter *f, const struct call_rule *rules, size_t n)
{
	for (const struct call_rule *rule = rules; rule < rules + n; rule++) {
		uint32_t action = rule->error ? SECCOMP_RET_ERRNO | rule->error : SECCOMP_RET_ALLOW;

		put_unless_equal(f, (uint32_t)rule->number, rule->mask ? 5 : 1);
		if (rule->mask) {
			put_load(f, offsetof(struct seccomp_data, args) + 8 * rule->argument);
			put(f, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, rule->mask));
			put_unless_equal(f, rule->value, 1);
		}
		put_return(f, action);
		if (rule->mask)
			put_load(f, offsetof(struct seccomp_data, nr));
	}
}

int call_filter_load(struct call_filter *f)
{
	struct sock_fprog program = {.filter = f->program};

	put_return(f, SECCOMP_RET_ERRNO | EPERM);
	if (f->full)
		return -E2BIG;
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
		return -ENOSYS;
	program.len = (unsigned short)f->n;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}
