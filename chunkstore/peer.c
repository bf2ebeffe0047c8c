/* SPDX-License-Identifier: Apache-2.0
 * Names by family: unix:uid=U,pid=P and vsock:CID:PORT and tls:IP:PORT. */
#include "chunkstore/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_BYTES 8 /* who has one address of IPv6 has the 2^64 that begin alike */

static void identify_unix(struct peer *p, int fd)
{
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
		(void)snprintf(p->name, sizeof(p->name), "unix:uid=%u,pid=%d", (unsigned)peer.uid,
			       (int)peer.pid);
	else
		(void)snprintf(p->name, sizeof(p->name), "unix");
	p->machine[0] = '\0';
}

static int identify_vsock(struct peer *p, const struct sockaddr_storage *from, struct err *e)
{
	struct sockaddr_vm vm;

	memcpy(&vm, from, sizeof(vm));
	(void)snprintf(p->machine, sizeof(p->machine), "vsock:%u", vm.svm_cid);
	(void)snprintf(p->name, sizeof(p->name), "vsock:%u:%u", vm.svm_cid, vm.svm_port);
	if (vm.svm_cid <= VMADDR_CID_HOST)
		return err_set(e, -EACCES,
			       "CID %u is no guest of this host: its processes have the unix socket",
			       vm.svm_cid);
	return 0;
}

static void identify_ip(struct peer *p, int family, const void *address, in_port_t port)
{
	char text[INET6_ADDRSTRLEN] = "";
	bool six = family == AF_INET6;

	(void)inet_ntop(family, address, text, sizeof(text));
	(void)snprintf(p->name, sizeof(p->name), "tls:%s%s%s:%u", six ? "[" : "", text, six ? "]" : "",
		       ntohs(port));
	if (six) {
		struct in6_addr prefix = {0};

		memcpy(&prefix, address, PREFIX_BYTES);
		(void)inet_ntop(family, &prefix, text, sizeof(text));
	}
	(void)snprintf(p->machine, sizeof(p->machine), "tls:%s", text);
}

static void identify_tcp(struct peer *p, const struct sockaddr_storage *from)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	memcpy(&in6, from, sizeof(in6));
	memcpy(&in, from, sizeof(in));
	if (from->ss_family == AF_INET)
		identify_ip(p, AF_INET, &in.sin_addr, in.sin_port);
	else if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		identify_ip(p, AF_INET, &in6.sin6_addr.s6_addr[12], in6.sin6_port);
	else
		identify_ip(p, AF_INET6, &in6.sin6_addr, in6.sin6_port);
}

int peer_identify(struct peer *p, int fd, const struct sockaddr_storage *from, struct err *e)
{
	switch (from->ss_family) {
	case AF_VSOCK:
		return identify_vsock(p, from, e);
	case AF_INET:
	case AF_INET6:
		identify_tcp(p, from);
		return 0;
	default:
		identify_unix(p, fd);
		return 0;
	}
}

void peer_set(struct peer *p, const char *name)
{
	(void)snprintf(p->machine, sizeof(p->machine), "%s", name);
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
}

void peer_add_key(struct peer *p, const struct digest *pin)
{
	char text[DIGEST_TEXT_SIZE];
	size_t n = strlen(p->name);

	(void)snprintf(p->name + n, sizeof(p->name) - n, ",key=%s", pin ? digest_text(pin, text) : "none");
}
