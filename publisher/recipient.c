/* SPDX-License-Identifier: Apache-2.0
 * Public keys are used here; a key provider is asked as ocicrypt's configuration says. */
#include "publisher/recipient.h"
#include "chunkstore/helper.h"
#include "crypto/key_provider.h"
#include "crypto/keywrap.h"
#include "guestfs/key_service.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_VARIABLE "OCICRYPT_KEYPROVIDER_CONFIG"
#define CONFIG_MAX (64u << 10)
#define MAX_ARGUMENTS 32
#define ASK_SECONDS 60 /* it may be a key broker far away */

int recipient_parse(struct recipient *out, const char *text, struct err *e)
{
	static const char jwe[] = "jwe:", provider[] = "provider:", own[] = "provider:" KEY_PROVIDER_NAME ":";

	if (strncmp(text, own, sizeof(own) - 1) == 0) {
		*out = (struct recipient){RECIPIENT_PROVIDER, text + sizeof(own) - 1};
		return 0;
	}
	if (strncmp(text, provider, sizeof(provider) - 1) == 0)
		return err_set(e, -EINVAL,
			       "a key provider is provider:" KEY_PROVIDER_NAME
			       ":PARAMETERS: no other is asked in a guest");
	if (strncmp(text, jwe, sizeof(jwe) - 1) == 0)
		text += sizeof(jwe) - 1;
	*out = (struct recipient){RECIPIENT_PUBLIC_KEY, text};
	return 0;
}

static int ask_program(const json_t *command, const struct buf *question, struct buf *answer, struct err *e)
{
	const json_t *list = json_object_get(command, "args");
	union {
		const char *read;
		char *write;
	} argv[MAX_ARGUMENTS + 2] = {{json_string_value(json_object_get(command, "path"))}};
	size_t n = json_array_size(list);
	int r;

	if (!argv[0].read || n > MAX_ARGUMENTS)
		return err_set(e, -EINVAL, "cmd without a path, or with more than %d args", MAX_ARGUMENTS);
	for (size_t i = 0; i < n; i++) {
		argv[i + 1].read = json_string_value(json_array_get(list, i));
		if (!argv[i + 1].read)
			return err_set(e, -EINVAL, "args are not strings");
	}
	r = helper_run(&argv[0].write, bytes_of(question->data, question->size), answer, ASK_SECONDS, e);
	return r == HELPER_FAILED ? -EIO : r;
}

static int ask_socket(const char *text, const struct buf *question, struct buf *answer, struct err *e)
{
	/* ocicrypt's Rust writes unix:///path */
	cleanup_free char *path = NULL;
	struct ttrpc_client client = {.fd = -1};
	struct address address;
	int r;

	if (strncmp(text, "unix://", 7) == 0 && asprintf(&path, "unix:%s", text + 7) < 0) {
		path = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	r = address_parse(&address, path ? path : text, e);
	if (r == 0)
		r = ttrpc_client_open(&client, &address, ASK_SECONDS * 1000, e);
	if (r == 0)
		r = key_service_wrap(&client, question, answer, e);
	ttrpc_client_close(&client);
	return r;
}

/* As the provider's entry in ocicrypt's configuration says. */
static int ask_provider(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	const json_t *entry = arg, *command = json_object_get(entry, "cmd");
	const char *socket = json_string_value(json_object_get(entry, "ttrpc"));
	int r;

	if (command)
		r = ask_program(command, question, answer, e);
	else if (socket)
		r = ask_socket(socket, question, answer, e);
	else
		r = err_set(e, -ENOTSUP, "it is reached neither by \"cmd\" nor by \"ttrpc\"");
	return r < 0 ? err_prefix(e, r, "key provider " KEY_PROVIDER_NAME) : 0;
}

static int read_config(json_t **out, struct err *e)
{
	const char *path = getenv(CONFIG_VARIABLE);
	cleanup_buf struct buf text = {.max = CONFIG_MAX};
	int r;

	if (!path)
		return err_set(e, -EINVAL,
			       "a key provider is asked as the file says that " CONFIG_VARIABLE
			       " names, and that is not set");
	r = file_read(AT_FDCWD, path, &text, e);
	return r < 0 ? r : json_object_parse(out, text.data, text.size, CONFIG_MAX, path, e);
}

static int wrap_by_provider(struct buf *to, const struct recipient *recipient, const struct secret *image_key,
			    const struct digest *descriptor, struct err *e)
{
	cleanup_json json_t *config = NULL;
	json_t *entry;
	int r = read_config(&config, e);

	if (r < 0)
		return r;
	entry = json_object_get(json_object_get(config, "key-providers"), KEY_PROVIDER_NAME);
	if (!entry)
		return err_set(e, -EINVAL, "%s: no key provider " KEY_PROVIDER_NAME, getenv(CONFIG_VARIABLE));
	return key_provider_wrap(to, image_key, descriptor, recipient->text, ask_provider, entry, e);
}

int recipients_wrap(const struct recipient *list, size_t n, const struct secret *image_key,
		    const struct digest *descriptor, struct buf *jwe, struct buf *provider, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int r = list[i].kind == RECIPIENT_PROVIDER
				? wrap_by_provider(provider, &list[i], image_key, descriptor, e)
				: keywrap_wrap(jwe, image_key, descriptor, list[i].text, e);

		if (r < 0)
			return r;
	}
	return 0;
}
