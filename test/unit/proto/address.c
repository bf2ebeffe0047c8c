/* SPDX-License-Identifier: Apache-2.0
 * Addresses of the wire: whole decimal numbers, paths that fit, nothing behind. */
#include "proto/wire/address.h"
#include "proto/wire/wire.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
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

#define PIN "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void check_tls(const struct address *a, int family, const char *ip, unsigned port)
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;
	char name[INET6_ADDRSTRLEN];

	memcpy(&six, &a->storage, sizeof(six));
	memcpy(&four, &a->storage, sizeof(four));
	cr_assert(a->tls);
	cr_assert_eq(a->sa.sa_family, family);
	cr_assert_eq(a->size, family == AF_INET ? sizeof(four) : sizeof(six));
	cr_assert_not_null(inet_ntop(family,
				     family == AF_INET ? (void *)&four.sin_addr : (void *)&six.sin6_addr,
				     name, sizeof(name)));
	cr_assert_str_eq(name, ip);
	cr_assert_eq(ntohs(family == AF_INET ? four.sin_port : six.sin6_port), port);
}

Test(address, tls_of_a_host_has_its_pin)
{
	struct address a;
	struct err e;

	cr_assert_eq(address_parse_host(&a, "tls:10.1.2.3:7681:" PIN, &e), 0, "%s", e.text);
	check_tls(&a, AF_INET, "10.1.2.3", 7681);
	cr_assert_eq(a.pin.bytes[1], 0x11);
	cr_assert_eq(a.pin.bytes[31], 0xff);
	cr_assert_eq(address_parse_host(&a, "tls:[fd00::1]:65535:" PIN, &e), 0, "%s", e.text);
	check_tls(&a, AF_INET6, "fd00::1", 65535);
	cr_assert_eq(address_parse_host(&a, "unix:/run/x.sock", &e), 0);
	cr_assert_not(a.tls);
	cr_assert_eq(address_parse_host(&a, "vsock:2:7681", &e), 0);
	cr_assert_not(a.tls);
}

Test(address, tls_of_a_listener_has_none)
{
	struct address a;
	struct err e;

	cr_assert_eq(address_parse_listen(&a, "tls:0.0.0.0:1", &e), 0, "%s", e.text);
	check_tls(&a, AF_INET, "0.0.0.0", 1);
	cr_assert_eq(address_parse_listen(&a, "tls:[::]:7681", &e), 0, "%s", e.text);
	check_tls(&a, AF_INET6, "::", 7681);
	cr_assert_eq(address_parse_listen(&a, "vsock:any:7681", &e), 0);
	cr_assert_eq(address_parse_listen(&a, "tls:0.0.0.0:1:" PIN, &e), -EINVAL);
}

Test(address, refuses_every_other_tls)
{
	static const char *const bad[] = {
		"tls:",
		"tls:10.1.2.3",
		"tls:10.1.2.3:7681",
		"tls:10.1.2.3:7681:",
		"tls:10.1.2.3:" PIN,
		"tls:10.1.2.3::" PIN,
		"tls:10.1.2.3:0:" PIN,
		"tls:10.1.2.3:65536:" PIN,
		"tls:10.1.2.3:+1:" PIN,
		"tls:10.1.2:7681:" PIN,
		"tls:host.example:7681:" PIN,
		"tls::7681:" PIN,
		"tls:[]:7681:" PIN,
		"tls:[::1:7681:" PIN,
		"tls:::1:7681:" PIN,
		"tls:[10.1.2.3]:7681:" PIN,
		"tls:[::1]7681:" PIN,
		"tls:[fe80::1%eth0]:7681:" PIN,
		"tls:[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:7681:" PIN,
		"tls:10.1.2.3:7681:" PIN "0",
		"tls:10.1.2.3:7681:sha256:0011",
		"tls:10.1.2.3:7681:sha512:" PIN,
		"tcp:10.1.2.3:7681:" PIN,
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct address a = {.size = 77};
		struct err e;

		cr_assert_eq(address_parse_host(&a, bad[i], &e), -EINVAL, "'%s'", bad[i]);
		cr_assert_eq(a.size, 77);
	}
}

/* Who does not know of TLS must not connect without it. */
Test(address, tls_is_only_where_it_is_expected)
{
	struct address a;

	cr_assert_eq(address_parse(&a, "tls:10.1.2.3:7681:" PIN, NULL), -EINVAL);
	cr_assert_eq(address_parse(&a, "tls:10.1.2.3:7681", NULL), -EINVAL);
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
