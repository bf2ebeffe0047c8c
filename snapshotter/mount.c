/* SPDX-License-Identifier: Apache-2.0
 * A mount entry owns copies of its strings. */
#include "snapshotter/mount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int mount_set(struct mount *m, const char *type, const char *source)
{
	m->type = type;
	m->source = strdup(source);
	return m->source ? 0 : -ENOMEM;
}

int mount_option(struct mount *m, const char *option)
{
	char *copy = m->n_options < MOUNT_MAX_OPTIONS ? strdup(option) : NULL;

	if (!copy)
		return -ENOMEM;
	m->options[m->n_options++] = copy;
	return 0;
}

void mount_deinit(struct mount *m)
{
	free(m->source);
	for (size_t i = 0; i < m->n_options; i++)
		free(m->options[i]);
	*m = (struct mount){0};
}
