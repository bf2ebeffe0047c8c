/* SPDX-License-Identifier: Apache-2.0
 * `cocoon-guestfs check`: what the kernel has of what a pod's virtual machine needs, as a table or as JSON.
 */
#ifndef COCOON_GUESTFS_CHECK_H
#define COCOON_GUESTFS_CHECK_H

/* argv[0] is "check". Returns the exit code. */
int check_main(int argc, char **argv);

#endif
