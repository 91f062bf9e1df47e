/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "connection.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"
#include "handshake.h"
#include "startup.h"

#define SILENCE 3000        /* ms a daemon that did not answer is left alone */
#define START_INTERVAL 30000 /* ms between two tries to start it */
#define START_PAUSE 20      /* ms between two looks whether it listens */

static const char HANDSHAKE[] = "PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1";

int64_t clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void connection_init(struct connection *connection, const struct environment *environment, int cancel_fd,
                     bool may_start)
{
    connection->environment = environment;
    connection->cancel_fd = cancel_fd;
    connection->may_start = may_start;
    connection->fd = -1;
}

/* Lock held. C_Initialize of the remote side: the first call, whose options tell who we are. */
static enum outcome introduce(struct connection *connection)
{
    const struct environment *environment = connection->environment;
    const struct call *call = call_find(CALL_C_Initialize);
    struct buffer frame = {0}, answer = {0};
    enum outcome outcome = LOST;
    bool locked;

    frame_begin(&frame, call, environment->options, environment->options_len);
    buffer_put_u8(&frame, 1);
    buffer_put_bytes(&frame, HANDSHAKE, sizeof HANDSHAKE - 1);
    buffer_put_u8(&frame, 0); /* no reserved string, which is then the empty one with its NUL */
    buffer_put_u8(&frame, 1);
    buffer_put_bytes(&frame, "", 1);
    frame_finish(&frame, environment->options_len, CPXD_REQUEST_MAX);
    if (frame.failed == CKR_OK)
        outcome = exchange(connection, &frame, &answer, LIMIT_INFO, true, &locked);
    if (outcome == DONE && (answer_open(&answer, call) != CKR_OK || answer.at != answer.len))
        outcome = MALFORMED;
    buffer_clear(&frame);
    buffer_clear(&answer);
    return outcome;
}

static enum outcome reach_daemon(struct connection *connection, int64_t limit, int *fd, int *version)
{
    enum outcome outcome = handshake(connection, limit, fd, version);

    if (outcome != ABSENT || !connection->may_start || !connection->environment->may_start ||
        clock_ms() < connection->start_after)
        return outcome;
    connection->start_after = clock_ms() + START_INTERVAL;
    if (!startup_daemon())
        return outcome;
    while (outcome == ABSENT && clock_ms() < limit) {
        if (wait_ready(-1, connection->cancel_fd, 0, clock_ms() + START_PAUSE) == CANCELLED)
            return CANCELLED;
        outcome = handshake(connection, limit, fd, version);
    }
    return outcome;
}

/* Lock held, connection closed. */
static enum outcome open_now(struct connection *connection)
{
    int64_t limit = clock_ms() + LIMIT_INFO;
    struct stat status;
    enum outcome outcome;
    int fd;

    if (clock_ms() < connection->silent_until)
        return ABSENT;
    outcome = reach_daemon(connection, limit, &fd, &connection->version);
    if (outcome == DONE && fstat(fd, &status) != 0) {
        (void)close(fd);
        outcome = ABSENT;
    }
    if (outcome == DONE) {
        connection->fd = fd;
        connection->device = status.st_dev;
        connection->inode = status.st_ino;
        connection->is_cpxd = false;
        connection->late = false;
        exchange_reset(connection);
        outcome = introduce(connection);
    }
    if (outcome == DONE) {
        connection->generation++;
        return DONE;
    }
    exchange_drop(connection, LOST);
    if (outcome == CANCELLED)
        return CANCELLED;
    if (outcome == TIMED_OUT || outcome == MALFORMED) /* somebody listens who is of no use */
        connection->silent_until = clock_ms() + SILENCE;
    return ABSENT;
}

enum outcome connection_open(struct connection *connection, struct peer *peer)
{
    enum outcome outcome = DONE;

    if (lock_take(&connection->lock) != CKR_OK)
        return NO_LOCK;
    if (!exchange_is_ours(connection)) {
        exchange_drop(connection, LOST);
        outcome = open_now(connection);
    }
    *peer = (struct peer){connection->generation, connection->version, connection->is_cpxd};
    lock_leave(&connection->lock);
    return outcome;
}

enum outcome connection_peek(struct connection *connection, struct peer *peer)
{
    enum outcome outcome;

    if (lock_take(&connection->lock) != CKR_OK)
        return NO_LOCK;
    outcome = connection->fd >= 0 ? DONE : STALE;
    *peer = (struct peer){connection->generation, connection->version, connection->is_cpxd};
    lock_leave(&connection->lock);
    return outcome;
}

enum outcome connection_exchange(struct connection *connection, unsigned generation, struct buffer *frame,
                                 struct buffer *answer, int limit)
{
    enum outcome outcome = STALE;
    bool locked = true;

    if (lock_take(&connection->lock) != CKR_OK)
        return NO_LOCK;
    if (connection->fd >= 0 && !exchange_is_ours(connection))
        exchange_drop(connection, LOST);
    if (connection->fd >= 0 && connection->generation == generation)
        outcome = exchange(connection, frame, answer, limit, false, &locked);
    if (locked)
        lock_leave(&connection->lock);
    return outcome;
}

void connection_drop(struct connection *connection, unsigned generation)
{
    if (lock_take(&connection->lock) != CKR_OK)
        return;
    if (connection->generation == generation)
        exchange_drop(connection, LOST);
    lock_leave(&connection->lock);
}

void connection_close(struct connection *connection)
{
    exchange_drop(connection, CANCELLED);
}

void connection_forget(struct connection *connection)
{
    if (exchange_is_ours(connection))
        (void)close(connection->fd);
    connection->fd = -1;
}
