// SPDX-License-Identifier: Apache-2.0
// Sockets and frames of a slot. The peer is untrusted: every length is bounded and every wait has an end.
#define _GNU_SOURCE
#include "slot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4,            // cards waiting for the slot to become free
    STRANGERS_MAX = 16,     // refused connections looked at in one go
    DRAIN_MAX = 256 * 1024, // bytes of late answers thrown away before a reset
    POWER_TIMEOUT_MS = 3000 // for the ATR; a card must start it within 40,000 clock cycles (ISO/IEC 7816-3, 6.2.1)
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int remaining_ms(int64_t deadline) {
    int64_t left = deadline - now_ms();
    return left <= 0 ? 0 : (int)(left > 600000 ? 600000 : left);
}

static bool listen_at(struct slot *s) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat there;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    memcpy(address.sun_path, s->path, sizeof s->path);
    if (lstat(s->path, &there) == 0 && S_ISSOCK(there.st_mode))
        unlink(s->path); // left by a pcscd that was killed
    // The mode is set before the name exists: the umask belongs to the whole of pcscd.
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        goto fail;
    if (listen(fd, BACKLOG) != 0) {
        unlink(s->path);
        goto fail;
    }
    s->listener = fd;
    return true;
fail:
    close(fd);
    return false;
}

bool slot_open(struct slot *s, unsigned long lun, unsigned index, const struct settings *set) {
    bool ok = false;
    pthread_mutex_lock(&s->lock);
    s->lun = lun;
    s->set = *set;
    s->peer = -1;
    s->gone = s->stale = s->powered = s->watched = false;
    s->protocols = 0;
    s->atr_len = 0;
    int written = snprintf(s->path, sizeof s->path, "%s.%u", set->base, index);
    if (written < 0 || (size_t)written >= sizeof s->path)
        goto out;
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake < 0)
        goto out;
    ok = listen_at(s);
    if (!ok)
        close(s->wake);
out:
    s->used = ok;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void slot_close(struct slot *s) {
    pthread_mutex_lock(&s->lock);
    if (s->used) {
        if (s->peer >= 0)
            close(s->peer);
        close(s->listener);
        close(s->wake);
        unlink(s->path);
        explicit_bzero(s->frame, sizeof s->frame);
        s->used = false;
        s->peer = s->listener = s->wake = -1;
    }
    pthread_mutex_unlock(&s->lock);
}

// The descriptor stays open, so that another thread's poll() ends on this socket and on no other.
static void leave(struct slot *s) {
    if (s->peer >= 0 && !s->gone)
        shutdown(s->peer, SHUT_RDWR);
    s->gone = true;
    s->powered = false;
}

static bool peer_left(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static bool same_user(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || len != sizeof who)
        return false;
    return who.uid == geteuid() || who.uid == 0;
}

// A client's thread looks too (SCardReconnect, SCardStatus), and what it sees pcscd's event thread may never hear of: were a
// swap let through by that look, pcscd would show the old state for good.
static bool is_witness(const struct slot *s) {
    return !s->watched || pthread_equal(s->watcher, pthread_self());
}

bool slot_present(struct slot *s) {
    bool in = false;
    pthread_mutex_lock(&s->lock);
    if (!s->used)
        goto out;
    if (!is_witness(s)) {
        in = s->peer >= 0 && !s->gone && !peer_left(s->peer);
        goto out;
    }
    if (s->peer >= 0) {
        if (!s->gone && !peer_left(s->peer)) {
            in = true;
            goto out;
        }
        close(s->peer);
        s->peer = -1;
        s->gone = s->stale = s->powered = false;
        s->atr_len = 0;
        goto out; // out for one look at least, or a swap would pass unseen
    }
    for (int i = 0; i < STRANGERS_MAX && s->peer < 0; i++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            break;
        if (same_user(fd))
            s->peer = fd;
        else
            close(fd);
    }
    in = s->peer >= 0;
out:
    pthread_mutex_unlock(&s->lock);
    return in;
}

void slot_wait(struct slot *s, int timeout_ms) {
    struct pollfd p[2] = {{.fd = -1}, {.fd = -1, .events = POLLIN}};
    uint64_t count;
    pthread_mutex_lock(&s->lock);
    if (s->used) {
        s->watched = true;
        s->watcher = pthread_self();
        p[0].fd = s->peer >= 0 ? s->peer : s->listener;
        p[0].events = s->peer >= 0 ? POLLRDHUP : POLLIN;
        p[1].fd = s->wake;
    }
    pthread_mutex_unlock(&s->lock);
    if (p[1].fd < 0)
        return;
    if (poll(p, 2, timeout_ms) > 0 && p[1].revents != 0)
        (void)!read(p[1].fd, &count, sizeof count);
}

bool slot_unplugged(struct slot *s) {
    struct stat there;
    pthread_mutex_lock(&s->lock);
    bool gone = s->used && s->set.usb && lstat(s->path, &there) != 0 && errno == ENOENT;
    pthread_mutex_unlock(&s->lock);
    return gone;
}

void slot_interrupt(struct slot *s) {
    const uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    if (s->used)
        (void)!write(s->wake, &one, sizeof one);
    pthread_mutex_unlock(&s->lock);
}

static enum io wait_for(int fd, short events, int64_t deadline) {
    for (;;) {
        struct pollfd p = {.fd = fd, .events = (short)(events | POLLRDHUP)};
        int left = remaining_ms(deadline);
        int n = poll(&p, 1, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IO_GONE;
        if (n == 0 && left == 0)
            return IO_TIMEOUT;
        if ((p.revents & events) != 0)
            return IO_OK; // data first: a card may answer and leave
        if (p.revents != 0)
            return IO_GONE;
    }
}

static enum io send_all(int fd, const uint8_t *data, size_t len, int64_t deadline) {
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            enum io state = wait_for(fd, POLLOUT, deadline);
            if (state != IO_OK)
                return state;
        } else if (n == 0 || errno != EINTR) {
            return IO_GONE;
        }
    }
    return IO_OK;
}

static enum io receive_all(int fd, uint8_t *data, size_t len, int64_t deadline, size_t *got) {
    *got = 0;
    while (*got < len) {
        ssize_t n = recv(fd, data + *got, len - *got, MSG_DONTWAIT);
        if (n > 0) {
            *got += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            enum io state = wait_for(fd, POLLIN, deadline);
            if (state != IO_OK)
                return state;
        } else if (n == 0 || errno != EINTR) {
            return IO_GONE;
        }
    }
    return IO_OK;
}

static enum io send_frame(struct slot *s, const uint8_t *payload, size_t len, int64_t deadline) {
    if (s->peer < 0 || s->gone)
        return IO_GONE;
    if (len == 0 || len > FRAME_MAX)
        return IO_BAD;
    s->frame[0] = (uint8_t)(len >> 8);
    s->frame[1] = (uint8_t)len;
    memcpy(s->frame + 2, payload, len);
    enum io state = send_all(s->peer, s->frame, len + 2, deadline);
    explicit_bzero(s->frame + 2, len);
    if (state != IO_OK)
        leave(s); // perhaps half a frame went out: nothing can follow it
    return state == IO_OK ? IO_OK : IO_GONE;
}

// IO_TIMEOUT: not a byte came. A frame that stops half-way is the end of the peer.
static enum io receive_frame(struct slot *s, int64_t deadline, size_t *len) {
    size_t got = 0;
    enum io state = receive_all(s->peer, s->frame, 2, deadline, &got);
    if (state == IO_TIMEOUT && got == 0)
        return IO_TIMEOUT;
    if (state == IO_OK) {
        *len = (size_t)s->frame[0] << 8 | s->frame[1];
        state = receive_all(s->peer, s->frame + 2, *len, deadline, &got);
    }
    if (state == IO_OK)
        return IO_OK;
    leave(s);
    return IO_GONE;
}

// Bytes nobody asked for. false: there are more than a late answer explains, or the peer left.
static bool drain(struct slot *s) {
    uint8_t bin[4096];
    size_t total = 0;
    while (total < DRAIN_MAX) {
        ssize_t n = recv(s->peer, bin, sizeof bin, MSG_DONTWAIT);
        if (n > 0)
            total += (size_t)n;
        else if (n < 0 && errno == EINTR)
            continue;
        else
            return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
    return false;
}

static bool silent(struct slot *s) {
    uint8_t byte;
    ssize_t n = recv(s->peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

enum io slot_power(struct slot *s, enum control how) {
    const uint8_t control = (uint8_t)how;
    const uint8_t ask = CTL_ATR;
    size_t len = 0;
    if (s->peer < 0 || s->gone)
        return IO_GONE;
    unsigned limit = s->set.timeout_ms < POWER_TIMEOUT_MS ? s->set.timeout_ms : POWER_TIMEOUT_MS;
    int64_t deadline = now_ms() + limit;
    s->powered = false;
    s->atr_len = 0;
    if (how == CTL_OFF)
        return send_frame(s, &control, 1, deadline);
    if (s->stale ? !drain(s) : !silent(s)) {
        leave(s);
        return IO_GONE;
    }
    enum io state = send_frame(s, &control, 1, deadline);
    if (state == IO_OK)
        state = send_frame(s, &ask, 1, deadline);
    while (state == IO_OK) {
        state = receive_frame(s, deadline, &len);
        if (state != IO_OK)
            break;
        s->protocols = atr_protocols(s->frame + 2, len);
        if (s->protocols != 0)
            break;
        if (!s->stale)
            return IO_BAD;
        // a late answer to the command before the reset: the ATR is still to come
    }
    if (state == IO_TIMEOUT)
        s->stale = true;
    if (state != IO_OK)
        return state;
    memcpy(s->atr, s->frame + 2, len);
    s->atr_len = len;
    s->stale = false;
    s->powered = true;
    return IO_OK;
}

enum io slot_exchange(struct slot *s, const uint8_t *out, size_t out_len, unsigned timeout_ms, size_t *len) {
    int64_t deadline = now_ms() + timeout_ms;
    *len = 0;
    if (s->peer < 0 || s->gone)
        return IO_GONE;
    if (s->stale || !s->powered)
        return IO_BAD;
    if (!silent(s)) { // an answer before its question
        leave(s);
        return IO_GONE;
    }
    enum io state = send_frame(s, out, out_len, deadline);
    if (state == IO_OK)
        state = receive_frame(s, deadline, len);
    if (state == IO_TIMEOUT)
        s->stale = true;
    return state;
}
