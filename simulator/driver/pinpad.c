// SPDX-License-Identifier: Apache-2.0
#include "pinpad.h"

#include <string.h>

enum { VERIFY_FIXED = 19, MODIFY_FIXED = 24 };
enum { ENTRY_MAX_REACHED = 1, ENTRY_KEY = 2, ENTRY_TIMEOUT = 4 };
enum { CODING_BINARY, CODING_BCD, CODING_ASCII };

// Multi-byte fields are in the byte order of the host, as in the C structures of <reader.h>.
static unsigned host16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t host32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static bool plausible(const struct pin_request *r) {
    return (r->format & 3) <= CODING_ASCII && r->min <= r->max && r->max >= 1 && r->max <= KEYS_MAX &&
           r->entry >= 1 && r->entry <= 7;
}

// The command given as a pattern: header, Lc and data field; Lc is worked out again once the PIN is in place.
static bool pattern(const uint8_t *apdu, size_t len, struct pin_request *r) {
    if (len < 4 || len > PIN_APDU_MAX + 1)
        return false;
    memcpy(r->header, apdu, 4);
    r->data_len = len > 5 ? len - 5 : 0;
    if (r->data_len > 0 && r->data_len == (size_t)apdu[4] + 1)
        r->data_len--; // an Le, which these commands do not have
    if (r->data_len > sizeof r->data)
        return false;
    if (r->data_len > 0)
        memcpy(r->data, apdu + 5, r->data_len);
    return true;
}

unsigned pin_parse(const uint8_t *in, size_t len, bool modify, struct pin_request *out) {
    const size_t fixed = modify ? MODIFY_FIXED : VERIFY_FIXED;
    const uint8_t *p = in + 5;
    memset(out, 0, sizeof *out);
    if (len < fixed || host32(in + fixed - 4) != len - fixed)
        return 0;
    out->modify = modify;
    out->timeout_s = in[0];
    out->format = in[2];
    out->block = in[3];
    out->length = in[4];
    if (modify) {
        out->offset_old = *p++;
        out->offset_new = *p++;
    }
    unsigned extra = host16(p);
    p += 2;
    out->min = (uint8_t)(extra >> 8);
    out->max = (uint8_t)extra;
    uint8_t confirm = modify ? *p++ : 0;
    out->confirm = (confirm & 1) != 0;
    out->ask_old = (confirm & 2) != 0;
    out->entry = *p;
    if (confirm > 3 || !plausible(out) || !pattern(in + fixed, len - fixed, out))
        return SW_PARAMETER;
    return SW_DONE;
}

unsigned pin_entry(const struct pin_request *r, const uint8_t *keys, size_t keys_len, size_t *count) {
    (void)keys;
    *count = keys_len;
    if (keys_len >= r->max && (r->entry & ENTRY_MAX_REACHED) != 0) {
        *count = r->max; // the entry ended by itself; what was typed after it went nowhere
        return SW_DONE;
    }
    if ((r->entry & (ENTRY_KEY | ENTRY_TIMEOUT)) == 0)
        return SW_TIMEOUT; // nothing but the last digit could have ended it
    return keys_len < r->min || keys_len > r->max ? SW_LENGTH : SW_DONE;
}

static void put_bits(uint8_t *field, size_t at, unsigned value, unsigned width) {
    for (unsigned i = 0; i < width; i++) {
        uint8_t mask = (uint8_t)(0x80U >> ((at + i) % 8));
        if ((value >> (width - 1 - i) & 1) != 0)
            field[(at + i) / 8] |= mask;
        else
            field[(at + i) / 8] &= (uint8_t)~mask;
    }
}

struct field {
    uint8_t byte[255];
    size_t len;
};

static bool extend(struct field *f, size_t len) {
    if (len > sizeof f->byte)
        return false;
    if (len > f->len) {
        memset(f->byte + f->len, 0xFF, len - f->len);
        f->len = len;
    }
    return true;
}

// Where the frame of the digits starts, in bits. bmPINBlockString counts the whole block for some programs and the
// digits' frame only for others: digits justified left lie the same in both; justified right, the pattern decides.
static bool frame_start(const struct pin_request *r, const struct field *f, size_t offset, size_t bits, size_t *at) {
    const size_t block = (r->block & 0x0FU) * 8U;
    const size_t position = (r->format >> 3 & 0x0FU) * ((r->format & 0x80) != 0 ? 8U : 1U);
    *at = offset * 8 + position;
    if (block == 0)
        return true;
    if (bits > block)
        return false;
    if ((r->format & 4) != 0) {
        size_t end = *at + block;
        if (end > f->len * 8)
            end = (offset * 8) + block;
        if (end < *at + bits)
            return false;
        *at = end - bits;
    }
    return true;
}

static bool insert(const struct pin_request *r, struct field *f, size_t offset, const uint8_t *pin, size_t len,
                   size_t *end) {
    const unsigned coding = r->format & 3;
    const unsigned width = coding == CODING_BCD ? 4 : 8;
    const unsigned length_bits = r->block >> 4;
    const size_t length_at = offset * 8 + (r->length & 0x0FU) * ((r->length & 0x10) != 0 ? 8U : 1U);
    size_t at = 0;
    size_t block_end = offset + (r->block & 0x0FU);
    if (!extend(f, block_end) || !frame_start(r, f, offset, len * width, &at))
        return false;
    *end = (at + len * width + 7) / 8;
    if (length_bits > 0 && (length_at + length_bits + 7) / 8 > *end)
        *end = (length_at + length_bits + 7) / 8;
    if (block_end > *end)
        *end = block_end;
    if (!extend(f, *end) || (length_bits > 0 && len >> length_bits != 0))
        return false;
    if (length_bits > 0)
        put_bits(f->byte, length_at, (unsigned)len, length_bits);
    for (size_t i = 0; i < len; i++)
        put_bits(f->byte, at + i * width, coding == CODING_ASCII ? pin[i] : pin[i] & 0x0FU, width);
    return true;
}

// Two PINs of free length follow each other; two blocks of fixed length must not overlap.
static bool insert_both(const struct pin_request *r, struct field *f, const uint8_t *old, size_t old_len,
                        const uint8_t *new_pin, size_t new_len, size_t *end) {
    const bool old_first = r->offset_old <= r->offset_new;
    const size_t first = old_first ? r->offset_old : r->offset_new;
    size_t second = old_first ? r->offset_new : r->offset_old;
    size_t stop = 0;
    if (!insert(r, f, first, old_first ? old : new_pin, old_first ? old_len : new_len, &stop))
        return false;
    if (second < stop) {
        if ((r->block & 0x0F) != 0)
            return false;
        second = stop;
    }
    return insert(r, f, second, old_first ? new_pin : old, old_first ? new_len : old_len, end);
}

unsigned pin_apdu(const struct pin_request *r, const uint8_t *old, size_t old_len, const uint8_t *new_pin,
                  size_t new_len, uint8_t *out, size_t *out_len) {
    struct field f = {.len = r->data_len};
    size_t end = 0;
    unsigned sw = SW_PARAMETER;
    memcpy(f.byte, r->data, r->data_len);
    *out_len = 0;
    if (r->modify && r->ask_old ? !insert_both(r, &f, old, old_len, new_pin, new_len, &end)
                                : !insert(r, &f, r->modify ? r->offset_new : 0, new_pin, new_len, &end))
        goto out;
    if ((r->block & 0x0F) == 0)
        f.len = end; // no block size: the command ends with the PIN
    memcpy(out, r->header, 4);
    out[4] = (uint8_t)f.len;
    memcpy(out + 5, f.byte, f.len);
    *out_len = 5 + f.len;
    sw = SW_DONE;
out:
    for (volatile uint8_t *p = f.byte; p < f.byte + sizeof f.byte; p++)
        *p = 0;
    return sw;
}
