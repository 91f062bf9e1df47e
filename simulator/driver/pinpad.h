// SPDX-License-Identifier: Apache-2.0
// A PIN pad without keys of its own: PC/SC part 10 v2.02.09, PIN_VERIFY_STRUCTURE and PIN_MODIFY_STRUCTURE,
// from the bytes a program sends to the command APDU the card gets. No I/O.
#ifndef CPXSIM_PINPAD_H
#define CPXSIM_PINPAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEYS_MAX = 16, PIN_APDU_MAX = 4 + 1 + 255 };

// Status words the reader answers by itself (part 10, 2.5: verification and modification).
enum {
    SW_DONE = 0x9000,
    SW_TIMEOUT = 0x6400,
    SW_CANCELLED = 0x6401,
    SW_MISMATCH = 0x6402,
    SW_LENGTH = 0x6403,
    SW_PARAMETER = 0x6B80
};

struct pin_request {
    unsigned timeout_s; // 0: the reader's own
    uint8_t format;     // bmFormatString
    uint8_t block;      // bmPINBlockString
    uint8_t length;     // bmPINLengthFormat
    uint8_t min, max;   // digits, from wPINMaxExtraDigit
    uint8_t entry;      // bEntryValidationCondition
    bool modify, ask_old, confirm;
    uint8_t offset_old, offset_new;
    uint8_t header[4]; // CLA INS P1 P2
    uint8_t data[255]; // template of the data field
    size_t data_len;
};

// 0: broken structure (its length does not agree with its content); else SW_DONE or SW_PARAMETER.
unsigned pin_parse(const uint8_t *in, size_t len, bool modify, struct pin_request *out);

// What the pad makes of the keys typed before the end of the entry. *count: digits that make the PIN.
unsigned pin_entry(const struct pin_request *r, const uint8_t *keys, size_t keys_len, size_t *count);

// PINs are ASCII digits. old is used when r->ask_old. out has room for PIN_APDU_MAX bytes.
unsigned pin_apdu(const struct pin_request *r, const uint8_t *old, size_t old_len, const uint8_t *new_pin,
                  size_t new_len, uint8_t *out, size_t *out_len);

#endif
