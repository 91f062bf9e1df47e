/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection to the daemon: opening and handshake, frames, and several threads with a request outstanding at
 * once. No thread is made: whichever caller waits reads the socket, and hands the others their answers.
 */
#ifndef CPXD_CONNECTION_H
#define CPXD_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buffer.h"
#include "environment.h"
#include "frame.h"
#include "lock.h"

#define PROTOCOL_OFFERED 2

enum outcome {
    DONE,
    ABSENT,    /* no daemon answers at the socket */
    STALE,     /* the connection asked for is gone: its sessions died with it */
    LOST,      /* the daemon went before it answered */
    TIMED_OUT, /* no answer in time: the connection was closed */
    MALFORMED, /* an answer that is none: the connection was closed */
    CANCELLED, /* C_Finalize */
    NO_LOCK    /* the host's mutex failed */
};

struct waiter; /* a caller whose answer has not come */

struct connection {
    struct lock lock;
    const struct environment *environment;
    int cancel_fd;  /* readable once C_Finalize has begun */
    bool may_start; /* this connection may start the daemon */

    int fd; /* -1: closed */
    dev_t device;
    ino_t inode;
    unsigned generation; /* handshakes made; 0: never connected */
    int version;         /* answered by the peer: 0, 1 or 2 */
    bool is_cpxd;        /* it says so: it answers out of order */
    bool late; /* one answer was given up and may still come */
    uint32_t serial;

    struct waiter *waiters;
    bool reading; /* one of them is at the socket */
    uint8_t header[FRAME_HEADER]; /* of the frame now coming in */
    size_t header_len;
    size_t options_len; /* of its options: bytes seen, and how they begin */
    char options[sizeof FRAME_MARK - 1];
    struct buffer body; /* body.at: bytes seen */

    int64_t silent_until; /* do not try a daemon that did not answer before this time */
    int64_t start_after;  /* do not start it again before this time */
};

struct peer {
    unsigned generation;
    int version;
    bool is_cpxd;
};

int64_t clock_ms(void);

/* fd and the answer state at rest; the lock must have been created. */
void connection_init(struct connection *connection, const struct environment *environment, int cancel_fd,
                     bool may_start);
/* Connects if need be, within LIMIT_INFO, and tells who answers. */
enum outcome connection_open(struct connection *connection, struct peer *peer);
/* Who answers on the connection as it stands: STALE when it is closed. */
enum outcome connection_peek(struct connection *connection, struct peer *peer);
/* Sends a finished frame on the connection of that generation, and waits for its answer's body, `limit` ms at
 * most (LIMIT_NONE: no end). */
enum outcome connection_exchange(struct connection *connection, unsigned generation, struct buffer *frame,
                                 struct buffer *answer, int limit);
/* Closes a connection whose answers cannot be trusted any more. */
void connection_drop(struct connection *connection, unsigned generation);
/* C_Finalize, when no call is left: no lock is taken. */
void connection_close(struct connection *connection);
/* After a fork, in the child: gives up the descriptor without touching the parent's stream. */
void connection_forget(struct connection *connection);

#endif
