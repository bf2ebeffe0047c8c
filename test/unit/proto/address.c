/* SPDX-License-Identifier: Apache-2.0
 * Addresses of the wire: whole decimal numbers, paths that fit, nothing behind. */
#include "proto/wire/address.h"
#include "proto/wire/wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/un.h>

Test(address, unix_path)
{
	struct sockaddr_un un;
	struct address a;
	struct err e;

	cr_assert_eq(address_parse(&a, "unix:/run/x.sock", &e), 0, "%s", e.text);
	memcpy(&un, &a.storage, sizeof(un));
	cr_assert_eq(un.sun_family, AF_UNIX);
	cr_assert_str_eq(un.sun_path, "/run/x.sock");
	cr_assert_eq(address_parse(&a, WIRE_DEFAULT_ADDRESS, &e), 0);
}

static void check_vsock(const char *text, unsigned cid, unsigned port)
{
	struct sockaddr_vm vm;
	struct address a;
	struct err e;

	cr_assert_eq(address_parse(&a, text, &e), 0, "%s: %s", text, e.text);
	memcpy(&vm, &a.storage, sizeof(vm));
	cr_assert_eq(vm.svm_family, AF_VSOCK);
	cr_assert_eq(vm.svm_cid, cid, "%s", text);
	cr_assert_eq(vm.svm_port, port, "%s", text);
	cr_assert_eq(a.size, sizeof(vm));
}

Test(address, vsock_numbers)
{
	check_vsock("vsock:2:7681", 2, 7681);
	check_vsock("vsock:2", 2, WIRE_DEFAULT_PORT);
	check_vsock("vsock:any:1", VMADDR_CID_ANY, 1);
	check_vsock("vsock:4294967294:0", 4294967294u, 0);
}

Test(address, refuses_the_rest)
{
	static const char *const bad[] = {
		"",
		"unix",
		"unix:",
		"vsock:",
		"vsock::7681",
		"vsock:2:",
		"vsock:2:x",
		"vsock:-1:1",
		"vsock:+1:1",
		"vsock:0x2:1",
		"vsock: 2:1",
		"vsock:2:1:1",
		"vsock:2:1 ",
		"tcp:1.2.3.4",
		"/run/x.sock",
		"vsock:4294967295:1",
		"vsock:4294967296:1",
		"vsock:99999999999999999999:1",
		"vsock:anyone:1",
		"vsock:an:1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct address a = {.size = 77};
		struct err e;

		cr_assert_eq(address_parse(&a, bad[i], &e), -EINVAL, "'%s'", bad[i]);
		cr_assert_eq(a.size, 77);
	}
}

Test(address, path_of_107_bytes_and_not_108)
{
	char text[5 + 108 + 1] = "unix:";
	struct address a;

	memset(text + 5, 'p', 107);
	text[5 + 107] = '\0';
	cr_assert_eq(address_parse(&a, text, NULL), 0);
	text[5 + 107] = 'p';
	text[5 + 108] = '\0';
	cr_assert_eq(address_parse(&a, text, NULL), -EINVAL);
}
