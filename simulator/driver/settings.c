// SPDX-License-Identifier: Apache-2.0
// What a slot reads and has no I/O: the DEVICENAME line, and the protocols of an ATR.
#include <string.h>

#include "slot.h"

static bool number(const char *text, size_t len, unsigned low, unsigned high, unsigned *out) {
    unsigned value = 0;
    if (len == 0 || len > 7)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value < low || value > high)
        return false;
    *out = value;
    return true;
}

static enum oddity oddity_named(const char *name, size_t len) {
    static const struct {
        const char *name;
        enum oddity oddity;
    } known[] = {{"verify-only", ODD_VERIFY_ONLY}, {"bad-tlv", ODD_BAD_TLV}, {"cut-list", ODD_CUT_LIST},
                 {"refuses", ODD_REFUSES},         {"exact", ODD_EXACT},     {"long", ODD_LONG},
                 {"swapped", ODD_SWAPPED},         {"liar", ODD_LIAR}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == len && memcmp(known[i].name, name, len) == 0)
            return known[i].oddity;
    return ODD_NONE;
}

static bool setting(const char *text, size_t len, struct settings *out) {
    const char *equal = memchr(text, '=', len);
    unsigned flag = 0;
    if (equal == NULL)
        return false;
    size_t key = (size_t)(equal - text);
    const char *value = equal + 1;
    size_t value_len = len - key - 1;
    if (key == 5 && memcmp(text, "first", key) == 0)
        return number(value, value_len, 0, SLOTS_MAX - 1, &out->first);
    if (key == 5 && memcmp(text, "slots", key) == 0)
        return number(value, value_len, 1, SLOTS_MAX, &out->slots);
    if (key == 7 && memcmp(text, "timeout", key) == 0)
        return number(value, value_len, 1, 600000, &out->timeout_ms);
    if (key == 6 && memcmp(text, "pinpad", key) == 0) {
        out->oddity = oddity_named(value, value_len);
        if (out->oddity == ODD_NONE && !number(value, value_len, 0, 1, &flag))
            return false;
        out->pinpad = flag == 1 || out->oddity != ODD_NONE;
        return true;
    }
    return false;
}

bool settings_parse(const char *device, struct settings *out) {
    struct settings set = {.slots = 4, .timeout_ms = 10000};
    const char *field = strchr(device, ':');
    // a device of the lab's USB (simulator/usb): "usb:vvvv/pppp:libudev:N:" and then the settings
    set.usb = strncmp(device, "usb:", 4) == 0;
    for (int skipped = 0; set.usb && skipped < 3 && field != NULL; skipped++)
        field = strchr(field + 1, ':');
    while (field != NULL && *++field != '/') {
        const char *end = strchr(field, ':');
        if (end == NULL || !setting(field, (size_t)(end - field), &set))
            return false;
        field = end;
    }
    if (field == NULL)
        return false;
    size_t len = strlen(field);
    if (len >= sizeof set.base - 1) // room for ".15"
        return false;
    memcpy(set.base, field, len + 1);
    *out = set;
    return true;
}

unsigned atr_protocols(const uint8_t *atr, size_t len) {
    unsigned found = 0;
    if (len < 2 || len > ATR_MAX || (atr[0] != 0x3B && atr[0] != 0x3F))
        return 0;
    size_t at = 2;
    for (unsigned indicator = atr[1] >> 4; indicator != 0;) {
        at += (indicator & 1) + (indicator >> 1 & 1) + (indicator >> 2 & 1);
        if ((indicator & 8) == 0)
            break;
        if (at >= len)
            return 0;
        unsigned protocol = atr[at] & 0x0F;
        if (protocol != 15) // T=15: global interface bytes, not a protocol
            found |= 1U << protocol;
        indicator = atr[at++] >> 4;
    }
    size_t end = at + (atr[1] & 0x0FU);
    if (end > len)
        return 0;
    return found != 0 ? found : 1U; // no TD1: T=0 only
}
