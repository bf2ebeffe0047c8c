/* SPDX-License-Identifier: Apache-2.0
 * Descriptors: one table for sockets, files and folders of both sides. */
#include "sim.h"

#include <errno.h>
#include <string.h>

#define FIRST 100 /* what is below is the simulator's own */
#define MAX_FILES 1024

static struct file *table[MAX_FILES];
static unsigned int n_used;

int file_add(struct file *f)
{
	int fd = 0;

	while (fd < MAX_FILES && table[fd])
		fd++;
	if (fd == MAX_FILES) {
		errno = EMFILE;
		return -1;
	}
	table[fd] = f;
	if ((unsigned int)fd >= n_used)
		n_used = (unsigned int)fd + 1;
	return FIRST + fd;
}

struct file *file_of(int fd, const struct file_ops *ops)
{
	struct file *f = fd >= FIRST && fd < FIRST + MAX_FILES ? table[fd - FIRST] : NULL;

	if (!f || (ops && f->ops != ops)) {
		errno = EBADF;
		return NULL;
	}
	sim_check(f->side == sim_side(), "descriptor %d is used by the other side", fd);
	return f;
}

static void close_slot(unsigned int slot)
{
	struct file *f = table[slot];

	table[slot] = NULL;
	f->ops->close(f, (int)slot + FIRST);
}

int __wrap_close(int fd);
int __wrap_close(int fd)
{
	struct file *f = file_of(fd, NULL);

	sim_check(f, "descriptor %d is closed and was not open", fd);
	close_slot((unsigned int)(fd - FIRST));
	return 0;
}

void files_close_side(enum side side)
{
	for (unsigned int i = 0; i < n_used; i++)
		if (table[i] && table[i]->side == side)
			close_slot(i);
}

void files_reset(void)
{
	for (enum side s = WORLD; s < N_SIDES; s++)
		files_close_side(s);
	n_used = 0;
}

unsigned int files_open(enum side side)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_used; i++)
		n += table[i] && table[i]->side == side;
	return n;
}
