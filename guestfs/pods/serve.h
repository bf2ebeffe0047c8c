/* SPDX-License-Identifier: Apache-2.0
 * `cocoon-guestfs serve`: in a pod's VM, on the socket where Kata's agent expects the Confidential Data Hub.
 */
#ifndef COCOON_GUESTFS_PODS_SERVE_H
#define COCOON_GUESTFS_PODS_SERVE_H

/* argv[0] is "serve". Returns the exit code. */
int serve_main(int argc, char **argv);

#endif
