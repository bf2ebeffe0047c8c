/* SPDX-License-Identifier: Apache-2.0
 * The image policy: what it reads, what it refuses, and that it is asked before anything else happens. */
#include "guestfs/policy.h"
#include "crypto/sha256.h"
#include "guestfs/image.h"
#include "seal_fixture.h"
#include "source_memory.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <string.h>

#define ONE "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define TWO "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define POLICY(list) "{\"version\":1,\"images\":[" list "]}"
#define IMAGE(digest) "{\"digest\":\"" digest "\"}"

TestSuite(policy, .init = scratch_open, .fini = scratch_close, .timeout = 60);

static int decode(const char *json, struct err *e)
{
	struct policy p;
	int r = policy_decode(&p, json, strlen(json), e);

	if (r == 0)
		policy_deinit(&p);
	return r;
}

Test(policy, allows_what_it_lists_and_nothing_else)
{
	static const char json[] = POLICY("{\"digest\":\"" ONE "\",\"comment\":\"app 1\"}," IMAGE(TWO));
	struct digest one, two, other = {{3}};
	struct policy p;
	struct err e = {""};

	cr_assert_eq(digest_parse(&one, ONE) + digest_parse(&two, TWO), 0);
	cr_assert_eq(policy_decode(&p, json, strlen(json), &e), 0, "%s", e.text);
	cr_assert_eq(p.n_images, 2);
	cr_assert_eq(policy_ask(&p, &one, &other, &e), 0);
	cr_assert_eq(policy_ask(&p, &other, &two, &e), 0);
	cr_assert_eq(policy_ask(&p, &other, &other, &e), -EACCES);
	cr_assert(strstr(e.text, "policy") && strstr(e.text, "sha256:0300000"), "%s", e.text);
	policy_deinit(&p);
	cr_assert_eq(policy_decode(&p, POLICY(""), strlen(POLICY("")), &e), 0, "%s", e.text);
	cr_assert_eq(policy_ask(&p, &one, &two, &e), -EACCES);
	policy_deinit(&p);
}

Test(policy, refuses_what_it_does_not_know)
{
	static const struct {
		const char *json;
		int error;
	} bad[] = {
		{"", -EUCLEAN},
		{"null", -EUCLEAN},
		{"[]", -EUCLEAN},
		{"{}", -EUCLEAN},
		{"{\"version\":1}", -EUCLEAN},
		{"{\"images\":[]}", -EUCLEAN},
		{"{\"version\":\"1\",\"images\":[]}", -EUCLEAN},
		{"{\"version\":1.0,\"images\":[]}", -EUCLEAN},
		{"{\"version\":2,\"images\":[]}", -ENOTSUP},
		{"{\"version\":2,\"signers\":[]}", -ENOTSUP},
		{"{\"version\":1,\"images\":[],\"signers\":[]}", -EUCLEAN},
		{"{\"version\":1,\"images\":[],\"images\":[]}", -EUCLEAN},
		{"{\"version\":1,\"images\":{}}", -EUCLEAN},
		{"{\"version\":1,\"images\":[]}x", -EUCLEAN},
		{POLICY("\"" ONE "\""), -EUCLEAN},
		{POLICY("null"), -EUCLEAN},
		{POLICY("{}"), -EUCLEAN},
		{POLICY("{\"digest\":5}"), -EUCLEAN},
		{POLICY("{\"digest\":\"sha256:00\"}"), -EUCLEAN},
		{POLICY("{\"digest\":\"" ONE "\\u0000\"}"), -EUCLEAN},
		{POLICY("{\"digest\":\"" ONE "\",\"digest\":\"" TWO "\"}"), -EUCLEAN},
		{POLICY("{\"digest\":\"" ONE "\",\"comment\":1}"), -EUCLEAN},
		{POLICY("{\"digest\":\"" ONE "\",\"minimumVersion\":1}"), -EUCLEAN},
		{POLICY(IMAGE(ONE) ",{}"), -EUCLEAN},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = {""};

		cr_assert_eq(decode(bad[i].json, &e), bad[i].error, "%s", bad[i].json);
		cr_assert_neq(e.text[0], '\0', "%s", bad[i].json);
	}
}

Test(policy, has_limits)
{
	static char json[POLICY_MAX_SIZE + 1];
	size_t n = 0;

	for (int more = 0; more < 2; more++) {
		n = (size_t)sprintf(json, "{\"version\":1,\"images\":[");
		for (int i = 0; i < POLICY_MAX_IMAGES + more; i++)
			n += (size_t)sprintf(json + n, "%s%s", i ? "," : "", IMAGE(ONE));
		n += (size_t)sprintf(json + n, "]}");
		cr_assert_eq(decode(json, NULL), more ? -E2BIG : 0);
	}
	memset(json, ' ', sizeof(json));
	memcpy(json, POLICY(""), strlen(POLICY("")));
	cr_assert_eq(policy_decode(&(struct policy){0}, json, POLICY_MAX_SIZE + 1, NULL), -E2BIG);
	n = (size_t)sprintf(json, "{\"version\":1,\"images\":");
	memset(json + n, '[', 100000);
	json[n + 100000] = '\0';
	cr_assert_eq(decode(json, NULL), -EUCLEAN);
}

Test(policy, comes_from_a_file)
{
	struct policy p;
	struct err e = {""};
	FILE *f = fopen(scratch_path("policy"), "w");

	cr_assert_not_null(f);
	cr_assert_geq(fputs(POLICY(IMAGE(ONE)), f), 0);
	cr_assert_eq(fclose(f), 0);
	cr_assert_eq(policy_read(&p, scratch_path("policy"), &e), 0, "%s", e.text);
	cr_assert_eq(p.n_images, 1);
	policy_deinit(&p);
	cr_assert_eq(policy_read(&p, scratch_path("none"), &e), -ENOENT);
	cr_assert_eq(policy_read(&p, "/dev/zero", &e), -E2BIG);
	cr_assert_eq(policy_read(&p, "/dev/null", &e), -EUCLEAN);
	cr_assert(strstr(e.text, "/dev/null"), "%s", e.text);
}

static unsigned int keys_sought;

static int find_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *digest, struct err *e)
{
	keys_sought++;
	return find_given_key(arg, key, manifest, descriptor, digest, e);
}

/* Open the image under a policy of one digest. */
static int open_with(struct source_memory *s, struct sealed *sealed, const struct digest *allowed,
		     struct err *e)
{
	struct digest one = *allowed;
	struct policy p = {.images = &one, .n_images = 1};
	struct image *i = NULL;
	int r = image_open(&i, &s->source,
			   &(struct image_options){
				   .find_key = find_key, .find_key_arg = sealed->image_key, .policy = &p},
			   e);

	image_close(i);
	return r;
}

Test(policy, is_asked_before_a_key_is_looked_for_or_a_byte_is_fetched)
{
	static const uint8_t plain[1 << 20] = {1};
	struct digest manifest, descriptor, other = {{1}};
	struct source_memory s;
	struct sealed sealed;
	struct err e = {""};

	seal(&sealed, plain, sizeof(plain), &(struct seal_options){0});
	cr_assert_eq(sha256(&manifest, sealed.manifest, strlen(sealed.manifest)), 0);
	cr_assert_eq(sha256(&descriptor, sealed.descriptor, DESCRIPTOR_SIZE), 0);
	source_memory_init(&s, &sealed);
	cr_assert_eq(open_with(&s, &sealed, &other, &e), -EACCES);
	cr_assert_not_null(strstr(e.text, "policy"));
	cr_assert_eq(s.index_reads + s.chunk_reads + s.closed + keys_sought, 0);
	cr_assert_eq(open_with(&s, &sealed, &manifest, &e), 0, "%s", e.text);
	source_memory_init(&s, &sealed);
	cr_assert_eq(open_with(&s, &sealed, &descriptor, &e), 0, "%s", e.text);
	cr_assert_eq(keys_sought, 2);
	seal_free(&sealed);
}
