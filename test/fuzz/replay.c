/* SPDX-License-Identifier: Apache-2.0
 * A main for fuzz targets without libFuzzer: every file of the directories given as arguments goes once
 * through the target. A directory that is missing or empty is a failure: no sample would have been tried. */
#include "proto/base/bytes.h"
#include "proto/base/io.h"
#include "test/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_SAMPLE (16u << 20)

/* The copy ends where the sample ends, so that a sanitizer sees a read past it. */
static int replay_file(int dirfd, const char *name, struct err *e)
{
	cleanup_buf struct buf b = {.max = MAX_SAMPLE};
	uint8_t *sample;
	int r = file_read(dirfd, name, &b, e);

	if (r < 0)
		return r;
	sample = malloc(b.size ? b.size : 1);
	if (!sample)
		return err_set(e, -1, "out of memory");
	if (b.size)
		memcpy(sample, b.data, b.size);
	(void)LLVMFuzzerTestOneInput(sample, b.size);
	free(sample);
	return 0;
}

/* Number of samples, or -1. */
static int replay_directory(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *entry;
	struct err e = {""};
	int n = 0, r = 0;

	if (!d) {
		(void)fprintf(stderr, "%s: cannot be opened\n", path);
		return -1;
	}
	while (r == 0 && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		r = replay_file(dirfd(d), entry->d_name, &e);
		n++;
	}
	(void)closedir(d);
	if (r < 0 || n == 0) {
		(void)fprintf(stderr, "%s: %s\n", path, n ? e.text : "no samples");
		return -1;
	}
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_directory(argv[i]);

		if (n < 0)
			return 1;
		total += n;
	}
	(void)printf("%d samples\n", total);
	return total > 0 ? 0 : 1;
}
