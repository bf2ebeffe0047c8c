/* SPDX-License-Identifier: Apache-2.0
 * Credentials in all the spellings that docker, podman and their helpers write. */
#include "chunkstore/docker_config.h"
#include "../scratch.h"
#include "chunkstore/docker_helper.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(docker_config, .init = scratch_open, .fini = scratch_close, .timeout = 60);

static struct docker_login login;
static char helper[DOCKER_HELPER_SIZE];

static int decode(const char *json, const char *registry)
{
	struct err e;

	docker_login_deinit(&login);
	return docker_config_decode(&login, helper, json, strlen(json), registry, &e);
}

Test(docker_config, reads_a_login_in_every_form)
{
	const struct {
		const char *json, *registry, *user, *password, *token;
	} cases[] = {
		{"{\"auths\":{\"r.io\":{\"auth\":\"dXNlcjpwYXNz\"}}}", "r.io", "user", "pass", NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"dXNlcjpwYTpzcw==\"}}}", "r.io", "user", "pa:ss", NULL},
		{"{\"auths\":{\"r.io:5000\":{\"username\":\"u\",\"password\":\"p\"}}}", "r.io:5000", "u", "p",
		 NULL},
		{"{\"auths\":{\"https://r.io/v2/\":{\"username\":\"u\",\"password\":\"p\"}}}", "r.io", "u",
		 "p", NULL},
		{"{\"auths\":{\"http://r.io\":{\"username\":\"u\",\"password\":\"p\"}}}", "r.io", "u", "p",
		 NULL},
		{"{\"auths\":{\"https://r.io/"
		 "x\":{\"username\":\"a\",\"password\":\"b\"},\"r.io\":{\"username\":\"u\","
		 "\"password\":\"p\"}}}",
		 "r.io", "u", "p", NULL},
		{"{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"u\",\"password\":\"p\"}}}",
		 "docker.io", "u", "p", NULL},
		{"{\"auths\":{\"r.io\":{\"identitytoken\":\"t\"}}}", "r.io", NULL, NULL, "t"},
		{"{\"auths\":{\"r.io\":{\"auth\":\"dXNlcjpwYXNz\",\"identitytoken\":\"t\"}},\"credsStore\":"
		 "\"x\"}",
		 "r.io", "user", "pass", "t"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(decode(cases[i].json, cases[i].registry), 0, "%s", cases[i].json);
		cr_assert_eq(!login.user, !cases[i].user);
		cr_assert_eq(!login.identity_token, !cases[i].token);
		if (login.user)
			cr_assert_str_eq(login.user, cases[i].user);
		if (login.password)
			cr_assert_str_eq(login.password, cases[i].password);
		if (login.identity_token)
			cr_assert_str_eq(login.identity_token, cases[i].token);
	}
	docker_login_deinit(&login);
}

Test(docker_config, has_no_login_for_others)
{
	const char *const files[] = {
		"{}",
		"{\"auths\":{}}",
		"{\"auths\":{\"r.io\":{}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"\"}}}",
		"{\"auths\":{\"r.iox\":{\"auth\":\"dXNlcjpwYXNz\"}}}",
		"{\"auths\":{\"https://r.io.evil/v1/\":{\"auth\":\"dXNlcjpwYXNz\"}}}",
		"{\"auths\":{\"r.io:5000\":{\"auth\":\"dXNlcjpwYXNz\"}}}",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		cr_assert_eq(decode(files[i], "r.io"), DOCKER_NO_LOGIN, "%s", files[i]);
		cr_assert_str_eq(helper, "");
	}
}

Test(docker_config, names_the_helper_to_ask)
{
	cr_assert_eq(decode("{\"auths\":{\"r.io\":{}},\"credsStore\":\"desktop\"}", "r.io"), DOCKER_NO_LOGIN);
	cr_assert_str_eq(helper, "desktop");
	cr_assert_eq(decode("{\"credHelpers\":{\"r.io\":\"ecr-login\"},\"credsStore\":\"desktop\"}", "r.io"),
		     DOCKER_NO_LOGIN);
	cr_assert_str_eq(helper, "ecr-login");
}

Test(docker_config, refuses_broken_files)
{
	const char *const files[] = {
		"",
		"[]",
		"{",
		"{\"auths\":[]}",
		"{\"auths\":{\"r.io\":1}}",
		"{\"auths\":{\"r.io\":{\"auth\":5}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"!!!!\"}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"dXNlcg==\"}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"dXNlcgA6cA==\"}}}",
		"{\"auths\":{\"r.io\":{\"username\":\"u\"}}}",
		"{\"auths\":{\"r.io\":{\"password\":\"u\"}}}",
		"{\"auths\":{\"r.io\":{\"username\":{},\"password\":\"u\"}}}",
		"{\"auths\":{\"r.io\":{}},\"auths\":{\"r.io\":{}}}",
		"{\"auths\":{\"r.io\":{\"auth\":\"dXNlcjpwYXNz\",\"auth\":\"dXNlcjpwYXNz\"}}}",
		"{\"credsStore\":\"../../bin/sh\"}",
		"{\"credsStore\":7}",
		"{\"credHelpers\":{\"r.io\":\"a b\"}}",
		"{\"credHelpers\":[]}",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		cr_assert_eq(decode(files[i], "r.io"), -EINVAL, "%s", files[i]);
}

Test(docker_config, never_quotes_a_secret)
{
	const char *json = "{\"auths\":{\"r.io\":{\"password\":\"hunter2\" hunter2";
	struct err e;

	cr_assert_eq(docker_config_decode(&login, helper, json, strlen(json), "r.io", &e), -EINVAL);
	cr_assert_null(strstr(e.text, "hunter2"), "%s", e.text);
}

static void write_file(const char *name, unsigned mode, const char *text)
{
	FILE *f = fopen(scratch_path(name), "w");

	cr_assert_not_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
	cr_assert_eq(chmod(scratch_path(name), mode), 0);
}

Test(docker_config, finds_the_file_where_docker_does)
{
	struct err e;

	cr_assert_eq(setenv("DOCKER_CONFIG", scratch, 1), 0);
	cr_assert_eq(docker_login_find(&login, NULL, "r.io", &e), DOCKER_NO_LOGIN);
	write_file("config.json", 0600, "{\"auths\":{\"r.io\":{\"auth\":\"dXNlcjpwYXNz\"}}}");
	cr_assert_eq(docker_login_find(&login, NULL, "r.io", &e), 0);
	docker_login_deinit(&login);
	cr_assert_eq(unsetenv("DOCKER_CONFIG"), 0);
	cr_assert_eq(setenv("HOME", scratch, 1), 0);
	cr_assert_eq(docker_login_find(&login, NULL, "r.io", &e), DOCKER_NO_LOGIN);
	cr_assert_eq(mkdir(scratch_path(".docker"), 0700), 0);
	write_file(".docker/config.json", 0600, "{\"auths\":{\"r.io\":{\"auth\":\"dXNlcjpwYXNz\"}}}");
	cr_assert_eq(docker_login_find(&login, NULL, "r.io", &e), 0);
	docker_login_deinit(&login);
	cr_assert_eq(docker_login_find(&login, scratch_path("named-but-missing"), "r.io", &e), -ENOENT);
	cr_assert_eq(docker_login_find(&login, scratch, "r.io", &e), -EINVAL);
}

static void use_helper(const char *script)
{
	char path[4096];

	write_file("docker-credential-test", 0700, script);
	write_file("config.json", 0600, "{\"credsStore\":\"test\"}");
	(void)snprintf(path, sizeof(path), "%s:%s", scratch, getenv("PATH"));
	cr_assert_eq(setenv("PATH", path, 1), 0);
}

Test(docker_config, asks_a_helper)
{
	struct err e = {""};

	use_helper("#!/bin/sh\n[ \"$1\" = get ] && read -r s; [ \"$s\" = r.io ] || exit 1\n"
		   "echo '{\"ServerURL\":\"r.io\",\"Username\":\"u\",\"Secret\":\"p\"}'\n");
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "r.io", &e), 0, "%s", e.text);
	cr_assert_str_eq(login.user, "u");
	cr_assert_str_eq(login.password, "p");
	docker_login_deinit(&login);
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "x.io", &e), DOCKER_NO_LOGIN);
}

Test(docker_config, takes_an_identity_token_from_a_helper)
{
	struct err e = {""};

	use_helper("#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"t\"}'\n");
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "r.io", &e), 0, "%s", e.text);
	cr_assert_null(login.user);
	cr_assert_str_eq(login.identity_token, "t");
	docker_login_deinit(&login);
}

Test(docker_config, survives_broken_helpers)
{
	struct err e;

	use_helper("#!/bin/sh\necho nonsense\n");
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "r.io", &e), -EIO);
	use_helper("#!/bin/sh\nwhile :; do echo "
		   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done\n");
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "r.io", &e), -E2BIG);
	use_helper("#!/bin/sh\nkill -9 $$\n");
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "r.io", &e), -EIO);
	cr_assert_eq(unlink(scratch_path("docker-credential-test")), 0);
	cr_assert_eq(docker_login_find(&login, scratch_path("config.json"), "r.io", &e), -ENOENT);
}
