/* SPDX-License-Identifier: Apache-2.0
 *
 * Reaching the daemon: connect, check who listens, agree on a protocol version.
 */
#ifndef CPXD_HANDSHAKE_H
#define CPXD_HANDSHAKE_H

#include "connection.h"

/* Waits for `events` on fd, for C_Finalize, or for the deadline (-1: none): DONE, CANCELLED or TIMED_OUT. */
enum outcome wait_ready(int fd, int cancel_fd, short events, int64_t deadline);

/* The same file under a number that is neither 0, 1 nor 2: in a host that closed those, whatever it prints would go
 * to us. -1, the file closed, when there is none. */
int off_stdio(int fd);

/* A connected stream whose version bytes were exchanged: *fd (non-blocking, close-on-exec), *version. ABSENT: nobody
 * listens. */
enum outcome handshake(const struct connection *connection, int64_t deadline, int *fd, int *version);

#endif
