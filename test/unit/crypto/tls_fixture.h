/* SPDX-License-Identifier: Apache-2.0
 * Keys and endpoints for tests of TLS: tls_key_make() writes a fresh key with its certificate into one file
 * of the scratch directory, tls_endpoint_make() makes one side from it. Includers have criterion and
 * test/unit/scratch.h. */
#ifndef COCOON_TEST_TLS_FIXTURE_H
#define COCOON_TEST_TLS_FIXTURE_H

#include "crypto/tls.h"
#include "test/unit/scratch.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

struct tls_key {
	char path[256];
	struct digest pin;
};

static inline void tls_key_make(struct tls_key *k, const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	const struct tls_options options = {.certificate = k->path, .key = k->path};
	struct tls_endpoint *endpoint;
	struct err e = {""};
	FILE *f;

	(void)snprintf(k->path, sizeof(k->path), "%s", scratch_path(name));
	cr_assert(X509_set_version(x, 2) == 1 && X509_set_pubkey(x, key) == 1 &&
		  ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1);
	/* long over, and nobody asks */
	cr_assert(ASN1_TIME_set(X509_getm_notBefore(x), 0) && ASN1_TIME_set(X509_getm_notAfter(x), 1));
	cr_assert(X509_sign(x, key, EVP_sha256()) > 0);
	f = fopen(k->path, "w");
	cr_assert(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		  PEM_write_X509(f, x) == 1 && fclose(f) == 0);
	X509_free(x);
	EVP_PKEY_free(key);
	cr_assert_eq(tls_host_new(&endpoint, &options, &e), 0, "%s", e.text);
	k->pin = *tls_endpoint_pin(endpoint);
	tls_endpoint_free(endpoint);
}

typedef int tls_endpoint_maker(struct tls_endpoint **, const struct tls_options *, struct err *);

/* tls_guest_new or tls_host_new; `own` and `other` may be NULL. */
static inline struct tls_endpoint *tls_endpoint_make(tls_endpoint_maker *make, const struct tls_key *own,
						     const struct tls_key *other)
{
	const struct tls_options options = {.certificate = own ? own->path : NULL,
					    .key = own ? own->path : NULL,
					    .pins = other ? &other->pin : NULL,
					    .n_pins = other != NULL};
	struct tls_endpoint *endpoint = NULL;
	struct err e = {""};
	int r = make(&endpoint, &options, &e);

	cr_assert_eq(r, 0, "%s", e.text);
	return endpoint;
}

#endif
