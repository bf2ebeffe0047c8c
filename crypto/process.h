/* SPDX-License-Identifier: Apache-2.0
 * What a process that will hold keys does first: no core files, not traceable by other processes of the same
 * user, memory that does not go to swap where the limits allow it, and OpenSSL's wiped when it is freed. */
#ifndef COCOON_CRYPTO_PROCESS_H
#define COCOON_CRYPTO_PROCESS_H

/* Before threads start, keys are read and OpenSSL has allocated anything (-EBUSY). RLIMIT_CORE 0,
 * PR_SET_DUMPABLE 0, no mapping goes into a core file; mlockall(MCL_CURRENT | MCL_ONFAULT) is tried, as it
 * needs a limit that not everybody has. Negative errno when core files could not be turned off. */
int process_hide_memory(void);

/* Only the last of that: OpenSSL wipes what it frees, and what it cannot allocate is noted
 * (proto/base/memory.h). 0, -EBUSY or -ENOMEM. */
int process_own_openssl(void);

#endif
