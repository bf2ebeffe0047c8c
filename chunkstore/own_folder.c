/* SPDX-License-Identifier: Apache-2.0 */
#include "chunkstore/own_folder.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

int own_folder_open(const char *dir, int *dir_fd, int *lock_fd, struct err *e)
{
	int r = make_directories(dir, e);

	*dir_fd = *lock_fd = -1;
	if (r < 0)
		return r;
	*dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dir_fd < 0)
		return err_errno(e, -errno, "%s", dir);
	*lock_fd = openat(*dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*lock_fd < 0)
		return err_errno(e, -errno, "%s/lock", dir);
	if (flock(*lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: another process has it", dir);
	return 0;
}
