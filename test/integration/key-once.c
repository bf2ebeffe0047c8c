/* SPDX-License-Identifier: Apache-2.0
 * No key ever meets two messages: every call of aead_seal() in the whole publisher passes through here (the
 * linker wraps it), and SHA-256 of key and message of each is remembered over many conversions: several
 * images, several compression levels, both paddings, one domain secret.
 *
 * usage: key-once DOMAIN-SECRET IMAGE-KEY LAYOUT… */
#include "crypto/aead.h"
#include "crypto/sha256.h"
#include "publisher/convert.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS (1u << 20)

struct pair {
	struct digest key, message; /* all zero: free */
};

static struct pair *pairs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t n_pairs, n_again, n_broken;

int __real_aead_seal(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key);
int __wrap_aead_seal(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key);

static void remember(const struct pair *p)
{
	static const struct pair none;
	size_t i;

	memcpy(&i, p->key.bytes, sizeof(i));
	while (memcmp(&pairs[i % SLOTS], &none, sizeof(none)) != 0 &&
	       !digest_equal(&pairs[i % SLOTS].key, &p->key))
		i++;
	if (memcmp(&pairs[i % SLOTS], &none, sizeof(none)) == 0) {
		pairs[i % SLOTS] = *p;
		n_pairs++;
	} else if (digest_equal(&pairs[i % SLOTS].message, &p->message)) {
		n_again++;
	} else {
		n_broken++;
	}
}

int __wrap_aead_seal(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key)
{
	struct pair p;

	if (sha256(&p.key, key->bytes, sizeof(key->bytes)) < 0 || sha256(&p.message, m, n) < 0)
		abort();
	(void)pthread_mutex_lock(&lock);
	if (n_pairs < SLOTS / 2)
		remember(&p);
	else
		abort();
	(void)pthread_mutex_unlock(&lock);
	return __real_aead_seal(a, out, m, n, key);
}

static int convert_once(const char *from, const char *domain, const char *key, int level,
			enum padding padding)
{
	struct convert_options o = {.domain_file = domain,
				    .image_key_file = key,
				    .seal = {level, padding},
				    .n_threads = 2,
				    .quiet = true};
	char dir[] = "/tmp/key-once-XXXXXX", to[64], source[4096];
	struct convert_result result;
	struct err e = {{0}};
	int r;

	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(to, sizeof(to), "oci:%s:latest", dir);
	(void)snprintf(source, sizeof(source), "oci:%s", from);
	oci_platform_host(&o.platform);
	r = reference_parse(&o.from, source, &e);
	if (r == 0)
		r = reference_parse(&o.to, to, &e);
	if (r == 0)
		r = convert(&o, &result, &e);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", from, e.text);
	(void)snprintf(source, sizeof(source), "rm -rf %s", dir);
	return system(source) == 0 ? r : -1;
}

int main(int argc, char **argv)
{
	static const struct seal_options options[] = {
		{1, PADDING_NONE},  {3, PADDING_NONE},	{3, PADDING_NONE},
		{9, PADDING_PADME}, {3, PADDING_PADME},
	};

	pairs = calloc(SLOTS, sizeof(*pairs));
	if (!pairs || argc < 4)
		return 2;
	for (int i = 3; i < argc; i++)
		for (size_t j = 0; j < sizeof(options) / sizeof(options[0]); j++)
			if (convert_once(argv[i], argv[1], argv[2], options[j].level, options[j].padding) < 0)
				return 1;
	(void)printf("%zu keys, %zu seen again with the same message, %zu with another\n", n_pairs, n_again,
		     n_broken);
	return n_broken || n_pairs == 0 || n_again == 0 ? 1 : 0;
}
