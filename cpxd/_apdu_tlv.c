/* SPDX-License-Identifier: Apache-2.0 */
/* BER-TLV: tags up to 4 bytes, definite lengths up to 4 bytes (ISO/IEC 7816-4 5.2.2, X.690 8.1). */

#include "_apdu.h"

static int read_tag(const uint8_t *buf, size_t len, size_t *pos, uint32_t *tag)
{
    size_t at = *pos;
    uint8_t byte = buf[at++];
    uint32_t value = byte;

    if (byte == 0x00)
        return APDU_E_TLV;
    if ((byte & 0x1F) == 0x1F) {
        size_t extra = 0;
        do {
            if (at == len || ++extra > 3)
                return APDU_E_TLV;
            byte = buf[at++];
            if (extra == 1 && (byte & 0x7F) == 0)
                return APDU_E_TLV; /* a tag number is written in the fewest bytes */
            value = value << 8 | byte;
        } while (byte & 0x80);
    }
    *tag = value;
    *pos = at;
    return APDU_OK;
}

static int read_length(const uint8_t *buf, size_t len, size_t *pos, size_t *length)
{
    size_t at = *pos;
    size_t value;

    if (at == len)
        return APDU_E_TLV;
    value = buf[at++];
    if (value >= 0x80) {
        size_t count = value - 0x80;
        if (count == 0 || count > 4 || count > len - at)
            return APDU_E_TLV;
        for (value = 0; count > 0; count--)
            value = value << 8 | buf[at++];
    }
    if (value > len - at)
        return APDU_E_TLV;
    *length = value;
    *pos = at;
    return APDU_OK;
}

int apdu_tlv_next(const uint8_t *buf, size_t len, size_t *pos, bool padding, apdu_tlv *out)
{
    size_t at = *pos;

    if (at > len)
        return APDU_E_ARGUMENT;
    while (padding && at < len && (buf[at] == 0x00 || buf[at] == 0xFF))
        at++;
    if (at == len) {
        *pos = at;
        return 0;
    }
    if (read_tag(buf, len, &at, &out->tag) || read_length(buf, len, &at, &out->length))
        return APDU_E_TLV;
    out->value = at;
    *pos = at + out->length;
    return 1;
}

static bool is_constructed(uint32_t tag)
{
    while (tag > 0xFF)
        tag >>= 8;
    return (tag & 0x20) != 0;
}

int apdu_tlv_find(const uint8_t *buf, size_t len, const uint32_t *path, size_t count, bool padding, apdu_tlv *out)
{
    size_t pos = 0;
    int rc;

    if (count == 0 || count > APDU_TLV_DEPTH)
        return APDU_E_ARGUMENT;
    while ((rc = apdu_tlv_next(buf, len, &pos, padding, out)) == 1) {
        size_t base = out->value;
        if (out->tag != path[0])
            continue;
        if (count == 1)
            return APDU_OK;
        rc = apdu_tlv_find(buf + base, out->length, path + 1, count - 1, padding, out);
        if (rc == APDU_OK)
            out->value += base;
        if (rc != APDU_E_ABSENT)
            return rc;
    }
    return rc == 0 ? APDU_E_ABSENT : rc;
}

static int check(const uint8_t *buf, size_t len, bool padding, int depth)
{
    apdu_tlv item;
    size_t pos = 0;
    int rc;

    while ((rc = apdu_tlv_next(buf, len, &pos, padding, &item)) == 1) {
        if (depth == 0)
            return APDU_E_TLV;
        if (is_constructed(item.tag) && check(buf + item.value, item.length, padding, depth - 1))
            return APDU_E_TLV;
    }
    return rc;
}

int apdu_tlv_check(const uint8_t *buf, size_t len, bool padding)
{
    return check(buf, len, padding, APDU_TLV_DEPTH);
}

static size_t byte_count(size_t value)
{
    size_t count = 1;
    while (value >>= 8)
        count++;
    return count;
}

static size_t write_big_endian(size_t value, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)(value >> 8 * (count - 1 - i));
    return count;
}

int apdu_tlv_header(uint32_t tag, size_t length, uint8_t *out, size_t cap, size_t *out_len)
{
    size_t tag_bytes = byte_count(tag);
    size_t length_bytes = byte_count(length);
    size_t at = 0;
    uint8_t written[4];
    uint32_t read_back;

    if (length > UINT32_MAX || cap < tag_bytes + 1 + length_bytes)
        return APDU_E_ARGUMENT;
    write_big_endian(tag, tag_bytes, written);
    if (read_tag(written, tag_bytes, &at, &read_back) || at != tag_bytes)
        return APDU_E_ARGUMENT; /* what we write, we can read */
    at = write_big_endian(tag, tag_bytes, out);
    if (length >= 0x80)
        out[at++] = (uint8_t)(0x80 | length_bytes);
    *out_len = at + write_big_endian(length, length_bytes, out + at);
    return APDU_OK;
}
