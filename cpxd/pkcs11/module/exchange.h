/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests and answers on an open connection. Whoever calls holds the connection's lock.
 */
#ifndef CPXD_EXCHANGE_H
#define CPXD_EXCHANGE_H

#include "connection.h"

/* The descriptor still is the socket we opened: a host that closes what it did not open may have reused it. */
bool exchange_is_ours(const struct connection *connection);
/* Forgets a half-received frame. */
void exchange_reset(struct connection *connection);
/* Closes the stream; everybody who waits for an answer gets `why`. */
void exchange_drop(struct connection *connection, enum outcome why);
/* Sends a frame and waits for its answer. The lock is given up while it waits unless `hold`; *locked tells whether
 * the caller still has it (a mutex of the host may fail). */
enum outcome exchange(struct connection *connection, struct buffer *frame, struct buffer *answer, int limit, bool hold,
                      bool *locked);

#endif
