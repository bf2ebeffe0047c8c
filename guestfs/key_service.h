/* SPDX-License-Identifier: Apache-2.0
 * A key provider (crypto/key_provider.h) behind a socket that speaks ttrpc: keyprovider.KeyProviderService,
 * as the Confidential Data Hub has it. */
#ifndef COCOON_GUESTFS_KEY_SERVICE_H
#define COCOON_GUESTFS_KEY_SERVICE_H

#include "crypto/key_provider.h"
#include "proto/ttrpc/client.h"

#define KEY_SERVICE_TIMEOUT_MS 45000 /* attestation may be behind it; the runtime gives a container 60 s */

/* `arg` is a struct ttrpc_client that is connected. -ENOKEY when the service refuses; -ECONNREFUSED or
 * -ECONNRESET when it is away, -ETIMEDOUT, -ENOSYS when it is another service, -EPROTO. */
key_provider_ask key_service_wrap, key_service_unwrap;

#endif
