/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG_PAUSE 5 /* ms between tries when the daemon's queue is full */

enum outcome wait_ready(int fd, int cancel_fd, short events, int64_t deadline)
{
    struct pollfd fds[2] = {{.fd = cancel_fd, .events = POLLIN}, {.fd = fd, .events = events}};

    for (;;) {
        int64_t left = deadline < 0 ? -1 : deadline - clock_ms();
        int ready;

        if (deadline >= 0 && left < 0)
            left = 0;
        if (left > INT_MAX)
            left = INT_MAX;
        ready = poll(fds, 2, (int)left);
        if (ready < 0 && errno != EINTR)
            return TIMED_OUT;
        if (ready > 0 && (fds[0].revents & POLLIN) != 0)
            return CANCELLED;
        if (ready > 0 && fds[1].revents != 0)
            return DONE;
        if (ready > 0) /* the host closed descriptors that were not its own */
            fds[0].fd = -1;
        if (deadline >= 0 && clock_ms() >= deadline)
            return TIMED_OUT;
    }
}

int off_stdio(int fd)
{
    int moved;

    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    (void)close(fd);
    return moved;
}

/* A PIN goes to ourselves or to root, to nobody else. */
static bool peer_is_ours(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

static enum outcome reach(const struct connection *connection, int64_t deadline, int *result)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum outcome outcome;
    int fd;

    if (connection->environment->socket[0] == '\0')
        return ABSENT;
    memcpy(address.sun_path, connection->environment->socket, sizeof address.sun_path);
    fd = off_stdio(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return ABSENT;
    while (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int64_t pause = clock_ms() + BACKLOG_PAUSE;

        outcome = errno == ENOENT || errno == ECONNREFUSED ? ABSENT : MALFORMED;
        if (errno != EAGAIN && errno != EINTR)
            goto failed;
        if (pause > deadline) {
            outcome = TIMED_OUT;
            goto failed;
        }
        outcome = wait_ready(-1, connection->cancel_fd, 0, pause);
        if (outcome == CANCELLED)
            goto failed;
    }
    outcome = MALFORMED;
    if (!peer_is_ours(fd))
        goto failed;
    *result = fd;
    return DONE;
failed:
    (void)close(fd);
    return outcome;
}

/* Offers a version; the peer answers the lower of ours and its own. LOST: it hung up instead. */
static enum outcome agree(const struct connection *connection, int fd, int offered, int64_t deadline, int *version)
{
    uint8_t byte = (uint8_t)offered;
    ssize_t got;

    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
        return LOST;
    for (;;) {
        enum outcome outcome = wait_ready(fd, connection->cancel_fd, POLLIN, deadline);

        if (outcome != DONE)
            return outcome;
        got = recv(fd, &byte, 1, 0);
        if (got == 1)
            break;
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return LOST;
    }
    if (byte > offered)
        return MALFORMED;
    *version = byte;
    return DONE;
}

enum outcome handshake(const struct connection *connection, int64_t deadline, int *fd, int *version)
{
    /* Servers older than the negotiation hang up on a byte they do not know. */
    static const int OFFERS[] = {PROTOCOL_OFFERED, 0};
    enum outcome outcome = LOST;

    for (size_t i = 0; i < sizeof OFFERS / sizeof OFFERS[0]; i++) {
        outcome = reach(connection, deadline, fd);
        if (outcome != DONE)
            return outcome;
        outcome = agree(connection, *fd, OFFERS[i], deadline, version);
        if (outcome == DONE)
            return DONE;
        (void)close(*fd);
        *fd = -1;
        if (outcome != LOST)
            break;
    }
    return outcome;
}
