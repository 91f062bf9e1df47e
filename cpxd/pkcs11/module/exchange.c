/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "exchange.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handshake.h"

#define FIRST_SERIAL 0x10U
#define NO_WAKE_PAUSE 5 /* ms, when there is no descriptor left to be woken by */

struct waiter {
    uint32_t serial;
    int64_t deadline;
    struct buffer *answer;
    bool done;
    enum outcome outcome;
    int wake; /* eventfd, once this caller waits for another to read */
    struct waiter *next;
};

static void wake(const struct waiter *waiter)
{
    const uint64_t one = 1;

    if (waiter->wake >= 0)
        (void)!write(waiter->wake, &one, sizeof one);
}

void exchange_reset(struct connection *connection)
{
    connection->header_len = 0;
    connection->options_len = 0;
    memset(connection->options, 0, sizeof connection->options);
    buffer_clear(&connection->body);
}

bool exchange_is_ours(const struct connection *connection)
{
    struct stat status;

    return connection->fd >= 0 && fstat(connection->fd, &status) == 0 && status.st_dev == connection->device &&
           status.st_ino == connection->inode;
}

void exchange_drop(struct connection *connection, enum outcome why)
{
    if (exchange_is_ours(connection)) {
        (void)shutdown(connection->fd, SHUT_RDWR); /* wakes the reader */
        (void)close(connection->fd);
    }
    connection->fd = -1;
    exchange_reset(connection);
    for (struct waiter *waiter = connection->waiters; waiter != NULL; waiter = waiter->next) {
        if (waiter->done)
            continue;
        waiter->done = true;
        waiter->outcome = why;
        wake(waiter);
    }
}

static enum outcome deliver(struct connection *connection)
{
    uint32_t serial = load_u32(connection->header);
    struct waiter *waiter = connection->waiters;

    while (waiter != NULL && (waiter->done || waiter->serial != serial))
        waiter = waiter->next;
    if (waiter == NULL && !connection->late)
        return MALFORMED;
    if (waiter == NULL) {
        connection->late = false;
        exchange_reset(connection);
        return DONE;
    }
    *waiter->answer = connection->body;
    waiter->answer->at = 0;
    connection->body = (struct buffer){0};
    if (memcmp(connection->options, FRAME_MARK, sizeof connection->options) == 0)
        connection->is_cpxd = true;
    exchange_reset(connection);
    waiter->done = true;
    waiter->outcome = DONE;
    wake(waiter);
    return DONE;
}

/* Where the next bytes of the frame go, and how many are wanted; 0 when it is complete. */
static size_t wanted(struct connection *connection, uint8_t *spill, size_t spill_len, uint8_t **to)
{
    size_t left;

    if (connection->header_len < FRAME_HEADER) {
        *to = connection->header + connection->header_len;
        return FRAME_HEADER - connection->header_len;
    }
    left = load_u32(connection->header + 4) - connection->options_len;
    *to = spill;
    if (left > 0)
        return left < spill_len ? left : spill_len;
    *to = connection->body.data + connection->body.at;
    return connection->body.len - connection->body.at;
}

static enum outcome accept_bytes(struct connection *connection, const uint8_t *from, size_t len)
{
    uint32_t options, body;

    if (connection->header_len < FRAME_HEADER) {
        connection->header_len += len;
        if (connection->header_len < FRAME_HEADER)
            return DONE;
        options = load_u32(connection->header + 4);
        body = load_u32(connection->header + 8);
        if (options > FRAME_OPTIONS_MAX || body == 0 || body > REPLY_MAX)
            return MALFORMED;
        return buffer_reserve(&connection->body, body) != NULL ? DONE : LOST;
    }
    if (connection->options_len < load_u32(connection->header + 4)) {
        for (size_t i = 0; i < len && connection->options_len + i < sizeof connection->options; i++)
            connection->options[connection->options_len + i] = (char)from[i];
        connection->options_len += len;
        return DONE;
    }
    connection->body.at += len;
    return DONE;
}

static bool somebody_waits(const struct connection *connection)
{
    for (const struct waiter *waiter = connection->waiters; waiter != NULL; waiter = waiter->next)
        if (!waiter->done)
            return true;
    return false;
}

/* Takes in whatever has come. DONE also when that completes nothing. */
static enum outcome receive(struct connection *connection)
{
    uint8_t spill[256];

    for (;;) {
        uint8_t *to;
        size_t want = wanted(connection, spill, sizeof spill, &to);
        enum outcome outcome;
        ssize_t got;

        if (want == 0) {
            outcome = deliver(connection);
            if (outcome != DONE || !somebody_waits(connection))
                return outcome;
            continue;
        }
        got = recv(connection->fd, to, want, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return DONE;
        if (got <= 0)
            return LOST;
        outcome = accept_bytes(connection, to, (size_t)got);
        if (outcome != DONE)
            return outcome;
    }
}

/* Answers are taken in meanwhile: a peer that writes before it reads would otherwise never come to reading. */
static enum outcome send_frame(struct connection *connection, const struct buffer *frame, int64_t deadline)
{
    size_t sent = 0;

    while (sent < frame->len) {
        ssize_t put = send(connection->fd, frame->data + sent, frame->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        enum outcome outcome;

        if (put > 0) {
            sent += (size_t)put;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return LOST;
        outcome = wait_ready(connection->fd, connection->cancel_fd, POLLIN | POLLOUT, deadline);
        if (outcome == DONE)
            outcome = receive(connection);
        if (outcome != DONE)
            return outcome;
    }
    return DONE;
}

/* One round of waiting. The lock is given up meanwhile unless `hold`; NO_LOCK when it could not be had back. */
static enum outcome wait_round(struct connection *connection, struct waiter *waiter, bool hold)
{
    bool lead = hold || !connection->reading;
    int fd = connection->fd;
    enum outcome outcome;
    uint64_t count;

    if (!hold && lead)
        connection->reading = true;
    else if (!lead && waiter->wake < 0)
        waiter->wake = off_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!hold)
        lock_leave(&connection->lock);
    if (lead || waiter->wake >= 0)
        outcome = wait_ready(lead ? fd : waiter->wake, connection->cancel_fd, POLLIN, waiter->deadline);
    else if (waiter->deadline < 0 || clock_ms() < waiter->deadline)
        outcome = wait_ready(-1, connection->cancel_fd, 0, clock_ms() + NO_WAKE_PAUSE) == CANCELLED ? CANCELLED : DONE;
    else
        outcome = TIMED_OUT;
    if (!hold && lock_take(&connection->lock) != CKR_OK)
        return NO_LOCK;
    if (!hold && lead)
        connection->reading = false;
    else if (!lead && waiter->wake >= 0)
        (void)!read(waiter->wake, &count, sizeof count);
    if (lead && outcome == DONE && !waiter->done) {
        enum outcome received = receive(connection);

        if (received != DONE)
            exchange_drop(connection, received);
    }
    return outcome;
}

static void forget_waiter(struct connection *connection, struct waiter *waiter)
{
    struct waiter **at = &connection->waiters;

    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (waiter->wake >= 0)
        (void)close(waiter->wake);
    if (connection->reading)
        return;
    for (waiter = connection->waiters; waiter != NULL; waiter = waiter->next)
        if (!waiter->done && waiter->wake >= 0) {
            wake(waiter); /* somebody must read now that we leave */
            return;
        }
}

/* A peer that works in order keeps us waiting behind the others: no shorter deadline then than theirs. */
static int64_t fair_deadline(const struct connection *connection, int64_t deadline)
{
    if (connection->is_cpxd)
        return deadline;
    for (const struct waiter *waiter = connection->waiters; waiter != NULL; waiter = waiter->next)
        if (waiter->deadline > deadline)
            deadline = waiter->deadline;
    return deadline;
}

/* A daemon that is only slow keeps its connection, and with it the host its login, when it owes one short answer.
 * The next one it owes ends it. */
static bool may_come_late(const struct connection *connection, int limit)
{
    return connection->is_cpxd && limit == LIMIT_INFO && !connection->late;
}

enum outcome exchange(struct connection *connection, struct buffer *frame, struct buffer *answer, int limit, bool hold,
                      bool *locked)
{
    struct waiter waiter = {.answer = answer, .wake = -1};
    enum outcome outcome;

    if (connection->serial < FIRST_SERIAL)
        connection->serial = FIRST_SERIAL;
    waiter.serial = connection->serial++;
    waiter.deadline = limit < 0 ? -1 : fair_deadline(connection, clock_ms() + limit);
    waiter.next = connection->waiters;
    connection->waiters = &waiter;
    store_u32(frame->data, waiter.serial);

    outcome = send_frame(connection, frame, limit < 0 ? clock_ms() + LIMIT_INFO : waiter.deadline);
    while (outcome == DONE && !waiter.done)
        outcome = wait_round(connection, &waiter, hold);
    *locked = outcome != NO_LOCK;
    if (waiter.done)
        outcome = waiter.outcome;
    else if (outcome == TIMED_OUT && may_come_late(connection, limit))
        connection->late = true;
    else if (outcome != CANCELLED)
        exchange_drop(connection, outcome == TIMED_OUT ? LOST : outcome);
    forget_waiter(connection, &waiter);
    return outcome;
}
