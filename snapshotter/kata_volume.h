/* SPDX-License-Identifier: Apache-2.0
 * What Kata's runtimes read in the options of a root filesystem's mount: a KataVirtualVolume, which is JSON
 * in base64. Ours is of type image_guest_pull: the guest brings the image itself, and the host shares
 * nothing. */
#ifndef COCOON_SNAPSHOTTER_KATA_VOLUME_H
#define COCOON_SNAPSHOTTER_KATA_VOLUME_H

#include "snapshotter/labels.h"

#define KATA_VOLUME_OPTION "io.katacontainers.volume="

/* The whole option, KATA_VOLUME_OPTION and the volume: image `reference`, which is not empty, with the labels
 * as metadata. All of it is UTF-8. free() it. 0 or -ENOMEM. */
int kata_volume_option(char **out, const char *reference, const struct labels *labels);

#endif
