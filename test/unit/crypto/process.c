/* SPDX-License-Identifier: Apache-2.0
 * A process that holds keys leaves no core file and is not traced. */
#include "crypto/process.h"
#include "proto/base/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

Test(process, leaves_no_core_and_goes_on_working)
{
	struct rlimit core;
	cleanup_buf struct buf filter;
	char *later;
	int r = process_hide_memory();

	/* libraries of criterion's may have used OpenSSL before any test */
	cr_assert(r == 0 || r == -EBUSY);
	cr_assert_eq(getrlimit(RLIMIT_CORE, &core), 0);
	cr_assert_eq(core.rlim_cur, 0);
	cr_assert_eq(core.rlim_max, 0);
	cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	buf_init(&filter, 64);
	cr_assert_eq(file_read(AT_FDCWD, "/proc/self/coredump_filter", &filter, NULL), 0);
	cr_assert_eq(filter.size, strlen("00000000\n"));
	cr_assert_arr_eq(filter.data, "00000000\n", filter.size);
	/* locked memory must not be what makes allocations fail */
	later = malloc(64 << 20);
	cr_assert_not_null(later);
	free(later);
}
