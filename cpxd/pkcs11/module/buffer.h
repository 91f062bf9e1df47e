/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing byte buffer with a sticky failure: callers write or read a whole message and look once.
 * Integers are big-endian (p11-kit RPC). Whatever it held is wiped before the memory is given back.
 */
#ifndef CPXD_BUFFER_H
#define CPXD_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

/* Longest frame sent to a stranger and to our own daemon, and longest body accepted. */
#define REQUEST_MAX ((size_t)16 << 20)
#define CPXD_REQUEST_MAX ((size_t)1 << 20)
#define REPLY_MAX ((size_t)20 << 20)

/* The length that stands for a NULL byte string. */
#define NO_BYTES 0xffffffffU

struct buffer {
    uint8_t *data;
    size_t len;      /* bytes written */
    size_t at;       /* bytes read */
    size_t capacity; /* bytes allocated */
    CK_RV failed;    /* CKR_OK, or the first failure: every later call is then a no-op that reads zeros */
};

void buffer_fail(struct buffer *buffer, CK_RV why);
void buffer_clear(struct buffer *buffer);

/* Makes room for `len` bytes (all of them readable) to be filled by the caller; NULL when it fails. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t len);

void buffer_put_u8(struct buffer *buffer, uint8_t value);
void buffer_put_u32(struct buffer *buffer, uint32_t value);
void buffer_put_u64(struct buffer *buffer, uint64_t value);
void buffer_put_raw(struct buffer *buffer, const void *data, size_t len);
/* u32 length and the bytes; data NULL: NO_BYTES alone. */
void buffer_put_bytes(struct buffer *buffer, const void *data, size_t len);

uint8_t buffer_get_u8(struct buffer *buffer);
uint32_t buffer_get_u32(struct buffer *buffer);
uint64_t buffer_get_u64(struct buffer *buffer);
const uint8_t *buffer_get_raw(struct buffer *buffer, size_t len);
/* Reverse of buffer_put_bytes: points into the buffer; NULL and 0 for NO_BYTES or on failure. */
const uint8_t *buffer_get_bytes(struct buffer *buffer, size_t *len);

uint32_t load_u32(const uint8_t *from);
void store_u32(uint8_t *to, uint32_t value);

#endif
