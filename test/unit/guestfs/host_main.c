/* SPDX-License-Identifier: Apache-2.0
 * fixture-host FILE SOCKET KEY: seal the filesystem in FILE in memory, write its image key to KEY, serve it
 * on SOCKET until a signal comes; SIGUSR1 breaks all connections. For tests of the guest without a registry.
 */
#include "crypto/keyfile.h"
#include "crypto/secret.h"
#include "proto/base/io.h"
#include "wire_host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct seal_options o = {.cut = 256 << 10, .meta_size = 4096, .startup = true};
	static struct wire_host host;
	struct sealed sealed;
	struct secret key;
	struct err e = {""};
	struct buf image;
	sigset_t set;
	int signal = 0;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	buf_init(&image, (size_t)4 << 30);
	if (argc < 4 || file_read(AT_FDCWD, argv[1], &image, &e) < 0) {
		fprintf(stderr, "fixture-host FILE SOCKET KEY [CUT]: %s\n", e.text);
		return 2;
	}
	if (argc > 4)
		o.cut = (uint32_t)strtoul(argv[4], NULL, 0);
	seal(&sealed, image.data, image.size, &o);
	buf_deinit(&image);
	memcpy(key.bytes, sealed.image_key, sizeof(key.bytes));
	(void)unlink(argv[3]);
	if (keyfile_write(&key, argv[3], KEYFILE_IMAGE, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	wire_host_start(&host, &sealed, argv[2]);
	while (sigwait(&set, &signal) == 0 && signal == SIGUSR1)
		wire_host_break(&host);
	wire_host_stop(&host);
	seal_free(&sealed);
	(void)unlink(argv[2]);
	return 0;
}
