/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

uint32_t load_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void store_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

void buffer_fail(struct buffer *buffer, CK_RV why)
{
    if (buffer->failed == CKR_OK)
        buffer->failed = why;
}

void buffer_clear(struct buffer *buffer)
{
    if (buffer->data != NULL) {
        explicit_bzero(buffer->data, buffer->capacity);
        free(buffer->data);
    }
    *buffer = (struct buffer){0};
}

/* realloc would leave a copy of a PIN behind in the old block. */
static bool grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    uint8_t *data;

    while (capacity < needed)
        capacity *= 2;
    data = malloc(capacity);
    if (data == NULL)
        return false;
    if (buffer->data != NULL) {
        memcpy(data, buffer->data, buffer->len);
        explicit_bzero(buffer->data, buffer->capacity);
        free(buffer->data);
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t len)
{
    uint8_t *start;

    if (buffer->failed != CKR_OK)
        return NULL;
    if (len > REPLY_MAX || buffer->len > REPLY_MAX - len) {
        buffer_fail(buffer, CKR_DATA_LEN_RANGE);
        return NULL;
    }
    if (buffer->len + len > buffer->capacity && !grow(buffer, buffer->len + len)) {
        buffer_fail(buffer, CKR_HOST_MEMORY);
        return NULL;
    }
    start = buffer->data + buffer->len;
    buffer->len += len;
    return start;
}

void buffer_put_raw(struct buffer *buffer, const void *data, size_t len)
{
    uint8_t *to = len ? buffer_reserve(buffer, len) : NULL;

    if (to != NULL)
        memcpy(to, data, len);
}

void buffer_put_u8(struct buffer *buffer, uint8_t value)
{
    buffer_put_raw(buffer, &value, 1);
}

void buffer_put_u32(struct buffer *buffer, uint32_t value)
{
    uint8_t bytes[4];

    store_u32(bytes, value);
    buffer_put_raw(buffer, bytes, sizeof bytes);
}

void buffer_put_u64(struct buffer *buffer, uint64_t value)
{
    buffer_put_u32(buffer, (uint32_t)(value >> 32));
    buffer_put_u32(buffer, (uint32_t)value);
}

void buffer_put_bytes(struct buffer *buffer, const void *data, size_t len)
{
    if (data == NULL) {
        buffer_put_u32(buffer, NO_BYTES);
        return;
    }
    if (len > REQUEST_MAX) {
        buffer_fail(buffer, CKR_DATA_LEN_RANGE);
        return;
    }
    buffer_put_u32(buffer, (uint32_t)len);
    buffer_put_raw(buffer, data, len);
}

const uint8_t *buffer_get_raw(struct buffer *buffer, size_t len)
{
    const uint8_t *start;

    if (buffer->failed != CKR_OK)
        return NULL;
    if (len > buffer->len - buffer->at) {
        buffer_fail(buffer, CKR_DEVICE_ERROR);
        return NULL;
    }
    start = buffer->data + buffer->at;
    buffer->at += len;
    return start;
}

uint8_t buffer_get_u8(struct buffer *buffer)
{
    const uint8_t *byte = buffer_get_raw(buffer, 1);

    return byte ? *byte : 0;
}

uint32_t buffer_get_u32(struct buffer *buffer)
{
    const uint8_t *bytes = buffer_get_raw(buffer, 4);

    return bytes ? load_u32(bytes) : 0;
}

uint64_t buffer_get_u64(struct buffer *buffer)
{
    const uint8_t *bytes = buffer_get_raw(buffer, 8);

    return bytes ? (uint64_t)load_u32(bytes) << 32 | load_u32(bytes + 4) : 0;
}

const uint8_t *buffer_get_bytes(struct buffer *buffer, size_t *len)
{
    uint32_t wanted = buffer_get_u32(buffer);
    const uint8_t *bytes;

    *len = 0;
    if (buffer->failed != CKR_OK || wanted == NO_BYTES)
        return NULL;
    bytes = buffer_get_raw(buffer, wanted);
    if (bytes != NULL)
        *len = wanted;
    return bytes;
}
