/* SPDX-License-Identifier: Apache-2.0
 * Reading addresses: numbers are decimal and whole, nothing may follow them. */
#include "proto/wire/address.h"
#include "proto/wire/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

static bool parse_number(unsigned int *out, const char *text, size_t n)
{
	unsigned long long v = 0;

	if (n == 0 || n > 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (unsigned long long)(text[i] - '0');
	}
	if (v > VMADDR_CID_ANY - 1)
		return false; /* the highest number is the wildcard, which has a word */
	*out = (unsigned int)v;
	return true;
}

static int parse_unix(struct address *a, const char *path, struct err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(un.sun_path))
		return err_set(e, -EINVAL, "unix:PATH takes a path of 1 to %zu bytes, this one has %zu",
			       sizeof(un.sun_path) - 1, n);
	memcpy(un.sun_path, path, n + 1);
	memcpy(&a->storage, &un, sizeof(un));
	a->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

static int parse_vsock(struct address *a, const char *text, struct err *e)
{
	struct sockaddr_vm vm = {.svm_family = AF_VSOCK, .svm_port = WIRE_DEFAULT_PORT};
	size_t cid_size = strcspn(text, ":");
	bool good;

	if (cid_size == 3 && memcmp(text, "any", 3) == 0) {
		vm.svm_cid = VMADDR_CID_ANY;
		good = true;
	} else {
		good = parse_number(&vm.svm_cid, text, cid_size);
	}
	if (good && text[cid_size] == ':')
		good = parse_number(&vm.svm_port, text + cid_size + 1, strlen(text + cid_size + 1));
	if (!good)
		return err_set(e, -EINVAL, "vsock:%s: expected vsock:CID:PORT, both decimal numbers", text);
	memcpy(&a->storage, &vm, sizeof(vm));
	a->size = sizeof(vm);
	return 0;
}

#define TLS_HOST "tls:ADDRESS:PORT:sha256:PIN"
#define TLS_LISTEN "tls:ADDRESS:PORT"

/* "1.2.3.4" or "[::1]", n bytes. */
static bool set_ip(struct address *a, const char *text, size_t n, in_port_t port)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
	char name[INET6_ADDRSTRLEN];
	bool six = n > 2 && text[0] == '[' && text[n - 1] == ']';

	if (six) {
		text++;
		n -= 2;
	}
	if (n >= sizeof(name))
		return false;
	memcpy(name, text, n);
	name[n] = '\0';
	a->size = six ? sizeof(in6) : sizeof(in);
	if (inet_pton(six ? AF_INET6 : AF_INET, name, six ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) !=
	    1)
		return false;
	memcpy(&a->storage, six ? (void *)&in6 : (void *)&in, a->size);
	return true;
}

/* ADDRESS:PORT, then ":" and the pin, or nothing. */
static int parse_tls(struct address *a, const char *text, bool pinned, struct err *e)
{
	const char *ip_end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
	size_t ip_size = ip_end ? (size_t)(ip_end - text) + (*ip_end == ']') : 0, port_size = 0;
	const char *at = text + ip_size;
	unsigned int port = 0;
	bool good = ip_size > 0 && *at == ':';

	if (good) {
		port_size = strcspn(++at, ":");
		good = parse_number(&port, at, port_size) && port > 0 && port <= UINT16_MAX &&
		       set_ip(a, text, ip_size, htons((in_port_t)port));
		at += port_size;
	}
	if (pinned)
		good = good && *at == ':' && digest_parse(&a->pin, at + 1) == 0;
	else
		good = good && *at == '\0';
	if (!good)
		return err_set(e, -EINVAL, "tls:%s: expected %s, where ADDRESS is IPv4 or [IPv6]%s", text,
			       pinned ? TLS_HOST : TLS_LISTEN, pinned ? " and PIN has 64 hex digits" : "");
	a->tls = true;
	return 0;
}

enum tls_form { TLS_NONE, TLS_PINNED, TLS_UNPINNED };

static int parse(struct address *out, const char *text, enum tls_form form, struct err *e)
{
	static const char *const also[] = {
		[TLS_NONE] = "", [TLS_PINNED] = " or " TLS_HOST, [TLS_UNPINNED] = " or " TLS_LISTEN};
	struct address a;
	int r;

	memset(&a, 0, sizeof(a));
	if (strncmp(text, "unix:", 5) == 0)
		r = parse_unix(&a, text + 5, e);
	else if (strncmp(text, "vsock:", 6) == 0)
		r = parse_vsock(&a, text + 6, e);
	else if (form != TLS_NONE && strncmp(text, "tls:", 4) == 0)
		r = parse_tls(&a, text + 4, form == TLS_PINNED, e);
	else
		r = err_set(e, -EINVAL, "%s: expected unix:PATH or vsock:CID:PORT%s", text, also[form]);
	if (r == 0)
		*out = a;
	return r;
}

int address_parse(struct address *out, const char *text, struct err *e)
{
	return parse(out, text, TLS_NONE, e);
}

int address_parse_host(struct address *out, const char *text, struct err *e)
{
	return parse(out, text, TLS_PINNED, e);
}

int address_parse_listen(struct address *out, const char *text, struct err *e)
{
	return parse(out, text, TLS_UNPINNED, e);
}
