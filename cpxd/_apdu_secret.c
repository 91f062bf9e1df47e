/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: one line of input in a page that is locked, never dumped and wiped; its bytes never leave the C code. */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "_apdu.h"

struct apdu_secret {
    size_t len;
    uint8_t bytes[APDU_SECRET_MAX + 2]; /* room for CR LF */
};

static size_t in_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

void *apdu_locked_new(size_t size)
{
    size_t length = in_pages(size);
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    if (mlock(memory, length) != 0 || madvise(memory, length, MADV_DONTDUMP) != 0 ||
        madvise(memory, length, MADV_WIPEONFORK) != 0) {
        munmap(memory, length);
        return NULL;
    }
    return memory;
}

void apdu_locked_free(void *memory, size_t size)
{
    if (memory == NULL)
        return;
    explicit_bzero(memory, size);
    munmap(memory, in_pages(size));
}

apdu_secret *apdu_secret_new(void)
{
    return apdu_locked_new(sizeof(apdu_secret));
}

void apdu_secret_free(apdu_secret *secret)
{
    apdu_locked_free(secret, sizeof *secret);
}

void apdu_secret_wipe(apdu_secret *secret)
{
    explicit_bzero(secret, sizeof *secret);
}

void apdu_wipe(void *memory, size_t size)
{
    explicit_bzero(memory, size);
}

int apdu_secret_set(apdu_secret *secret, const uint8_t *bytes, size_t len)
{
    apdu_secret_wipe(secret);
    if (len > APDU_SECRET_MAX)
        return APDU_E_LONG;
    if (len > 0)
        memcpy(secret->bytes, bytes, len);
    secret->len = len;
    return APDU_OK;
}

size_t apdu_secret_len(const apdu_secret *secret)
{
    return secret->len;
}

const uint8_t *apdu_secret_bytes(const apdu_secret *secret)
{
    return secret->bytes;
}

bool apdu_secret_is_digits(const apdu_secret *secret, size_t minimum, size_t maximum)
{
    unsigned wrong = 0;

    if (secret->len < minimum || secret->len > maximum)
        return false;
    for (size_t i = 0; i < secret->len; i++)
        wrong |= secret->bytes[i] < '0' || secret->bytes[i] > '9';
    return wrong == 0;
}

bool apdu_secret_equal(const apdu_secret *a, const apdu_secret *b)
{
    size_t different = a->len ^ b->len;

    for (size_t i = 0; i < sizeof a->bytes; i++) /* all of it: what lies behind len is zero in both */
        different |= (size_t)(a->bytes[i] ^ b->bytes[i]);
    return different == 0;
}

int apdu_secret_digest(const apdu_secret *secret, const uint8_t *salt, size_t salt_len, uint8_t out[32])
{
    apdu_sha256 *hash = apdu_locked_new(sizeof *hash);

    if (hash == NULL)
        return APDU_E_MEMORY;
    apdu_sha256_init(hash);
    apdu_sha256_update(hash, salt, salt_len);
    apdu_sha256_update(hash, secret->bytes, secret->len);
    apdu_sha256_final(hash, out);
    apdu_locked_free(hash, sizeof *hash);
    return APDU_OK;
}

static int64_t now_in_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_for_input(int fd, int wake, int64_t deadline)
{
    struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = wake, .events = POLLIN}};
    int timeout = -1;
    int ready;

    if (deadline >= 0) {
        int64_t left = deadline - now_in_milliseconds();
        timeout = left <= 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
    }
    ready = poll(polled, 2, timeout);
    if (ready < 0)
        return errno == EINTR ? APDU_E_INTERRUPTED : APDU_E_SYSTEM;
    if (ready == 0)
        return timeout == 1000000 ? APDU_E_INTERRUPTED : APDU_E_TIMEOUT;
    return polled[1].revents != 0 ? APDU_E_INTERRUPTED : APDU_OK;
}

/* One byte into the secret. Returns APDU_OK while the line goes on, 1 at its end. */
static int read_byte(apdu_secret *secret, int fd)
{
    uint8_t *next = secret->bytes + secret->len;
    ssize_t got = read(fd, next, 1);

    if (got < 0) {
        if (errno == EAGAIN)
            return APDU_OK;
        return errno == EINTR ? APDU_E_INTERRUPTED : APDU_E_SYSTEM;
    }
    if (got == 0 && secret->len == 0)
        return APDU_E_EOF;
    if (got == 1 && *next != '\n') {
        secret->len++;
        return secret->len == sizeof secret->bytes ? APDU_E_LONG : APDU_OK;
    }
    *next = 0;
    if (secret->len > 0 && next[-1] == '\r')
        secret->bytes[--secret->len] = 0;
    return secret->len > APDU_SECRET_MAX ? APDU_E_LONG : 1;
}

int apdu_secret_read_line(apdu_secret *secret, int fd, int wake, int64_t deadline)
{
    int rc = APDU_OK;

    if (fd < 0)
        return APDU_E_ARGUMENT;
    while (rc == APDU_OK) {
        rc = wait_for_input(fd, wake, deadline);
        if (rc == APDU_OK)
            rc = read_byte(secret, fd);
    }
    if (rc == 1)
        return APDU_OK;
    if (rc != APDU_E_INTERRUPTED) {
        int saved = errno;
        apdu_secret_wipe(secret);
        errno = saved;
    }
    return rc;
}

int apdu_secret_read_fd(apdu_secret *secret, int fd, int64_t deadline)
{
    return apdu_secret_read_line(secret, fd, -1, deadline);
}
