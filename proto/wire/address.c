/* SPDX-License-Identifier: Apache-2.0
 * Reading addresses: numbers are decimal and whole, nothing may follow them. */
#include "proto/wire/address.h"
#include "proto/wire/wire.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
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

int address_parse(struct address *out, const char *text, struct err *e)
{
	struct address a;
	int r;

	memset(&a, 0, sizeof(a));
	if (strncmp(text, "unix:", 5) == 0)
		r = parse_unix(&a, text + 5, e);
	else if (strncmp(text, "vsock:", 6) == 0)
		r = parse_vsock(&a, text + 6, e);
	else
		r = err_set(e, -EINVAL, "%s: expected unix:PATH or vsock:CID:PORT", text);
	if (r == 0)
		*out = a;
	return r;
}
