/* SPDX-License-Identifier: Apache-2.0
 * What systemd is told and given: that the service is ready, and log lines. Two short messages over unix
 * sockets; its library for them brings compressors and ciphers along, which have no place in a process with
 * keys. */
#ifndef COCOON_GUESTFS_SERVICE_MANAGER_H
#define COCOON_GUESTFS_SERVICE_MANAGER_H

/* Connect to the service manager that asked for it in NOTIFY_SOCKET (sd_notify(3)), which is removed from the
 * environment: before threads start. A descriptor, or -1 when none asked or it is not there. */
int service_manager_connect(void);

/* Tell it that this process is the service, and ready. -1 is fine. */
void service_manager_ready(int fd);

/* A stream to the journal, as sd_journal_stream_fd(3): lines that may begin with their priority as in
 * "<4>", shown as `name`'s. Owned by the caller; -1 where there is no journal. */
int journal_stream(const char *name);

#endif
