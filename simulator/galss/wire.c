/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

int wire_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("CPX_SIM_GALSS");
    int link = -1;

    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    link = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (link >= 0 && connect(link, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(link);
        link = -1;
    }
    return link;
}

static int64_t now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

/* One packet before `limit`: its length, 0 when the simulator is gone, -1 when it is late. */
static ssize_t receive(int link, uint8_t *packet, size_t cap, int64_t limit)
{
    for (;;) {
        struct pollfd watched = {.fd = link, .events = POLLIN};
        int64_t left = limit - now();
        int ready = poll(&watched, 1, left > 0 ? (int)left : 0);

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return -1;
        ssize_t got = recv(link, packet, cap, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        return got < 0 ? 0 : got;
    }
}

uint16_t wire_ask(int link, uint8_t operation, const uint8_t *body, size_t body_len, uint8_t *out, size_t *len, int wait)
{
    static atomic_uint last;
    uint8_t packet[WIRE_MAX];
    uint32_t sequence = atomic_fetch_add(&last, 1) + 1;
    int64_t limit = now() + wait;
    size_t room = *len;
    uint16_t code = NO_SERVICE;

    *len = 0;
    if (body_len > sizeof packet - WIRE_HEAD)
        return TOO_SMALL;
    memcpy(packet, &sequence, sizeof sequence);
    packet[4] = operation;
    if (body_len > 0)
        memcpy(packet + WIRE_HEAD, body, body_len);
    if (send(link, packet, WIRE_HEAD + body_len, MSG_NOSIGNAL) < 0)
        goto out;
    for (;;) {
        ssize_t got = receive(link, packet, sizeof packet, limit);
        size_t data;

        if (got < 0)
            code = LATE;
        if (got < WIRE_ANSWER_HEAD)
            goto out;
        if (memcmp(packet, &sequence, sizeof sequence) != 0)
            continue;
        memcpy(&code, packet + 4, sizeof code);
        data = (size_t)got - WIRE_ANSWER_HEAD;
        if (data > room) {
            code = TOO_SMALL;
            goto out;
        }
        if (data > 0)
            memcpy(out, packet + WIRE_ANSWER_HEAD, data);
        *len = data;
        goto out;
    }
out:
    explicit_bzero(packet, sizeof packet); /* a PIN may have stood there */
    return code;
}
