// SPDX-License-Identifier: Apache-2.0
// Commands to the card, and what the reader does by itself: its PC/SC part 10 features.
#define _GNU_SOURCE
#include "control.h"

#include <reader.h>

#include <arpa/inet.h>
#include <string.h>

#include "pinpad.h"

enum { PAD_TIMEOUT_S = 30, PAD_GRACE_MS = 2000 };
enum { IOCTL_BASE = 3500 }; // vendor control codes: 3500 + feature number

static RESPONSECODE code_of(enum io state) {
    switch (state) {
    case IO_OK:
        return IFD_SUCCESS;
    case IO_TIMEOUT:
        return IFD_RESPONSE_TIMEOUT;
    case IO_GONE:
    case IO_BAD:
    default:
        return IFD_COMMUNICATION_ERROR;
    }
}

RESPONSECODE ask_card(struct slot *s, const uint8_t *apdu, size_t len, PUCHAR out, size_t *out_len) {
    const size_t room = *out_len;
    size_t got = 0;
    *out_len = 0;
    RESPONSECODE rc = code_of(slot_exchange(s, apdu, len, s->set.timeout_ms, &got));
    if (rc != IFD_SUCCESS)
        return rc;
    if (got < 2)
        rc = IFD_COMMUNICATION_ERROR;
    else if (got > room)
        rc = IFD_ERROR_INSUFFICIENT_BUFFER;
    else
        memcpy(out, s->frame + 2, *out_len = got);
    explicit_bzero(s->frame + 2, got);
    return rc;
}

// One entry on the pad. SW_DONE and the digits, else the status word the reader answers; 0: the peer is no pad.
static unsigned ask_pad(struct slot *s, const struct pin_request *r, uint8_t *digits, size_t *count) {
    const uint8_t ask = CTL_KEYS;
    const unsigned seconds = r->timeout_s != 0 ? r->timeout_s : PAD_TIMEOUT_S;
    uint8_t *keys = s->frame + 2;
    size_t len = 0;
    unsigned sw = 0;
    *count = 0;
    enum io state = slot_exchange(s, &ask, 1, seconds * 1000 + PAD_GRACE_MS, &len);
    if (state == IO_TIMEOUT)
        return SW_TIMEOUT;
    if (state != IO_OK)
        return 0;
    if (len == 0)
        return SW_CANCELLED;
    if (len == 1 && keys[0] == 0)
        return SW_TIMEOUT;
    for (size_t i = 0; i < len; i++)
        if (keys[i] < '0' || keys[i] > '9')
            goto out;
    sw = pin_entry(r, keys, len, count);
    if (sw == SW_DONE)
        memcpy(digits, keys, *count);
out:
    explicit_bzero(keys, len);
    return sw;
}

struct entry {
    uint8_t digits[KEYS_MAX];
    size_t count;
};

static unsigned ask_pins(struct slot *s, const struct pin_request *r, struct entry *old, struct entry *new_pin) {
    struct entry again = {.count = 0};
    unsigned sw = SW_DONE;
    if (r->modify && r->ask_old)
        sw = ask_pad(s, r, old->digits, &old->count);
    if (sw == SW_DONE)
        sw = ask_pad(s, r, new_pin->digits, &new_pin->count);
    if (sw == SW_DONE && r->modify && r->confirm) {
        sw = ask_pad(s, r, again.digits, &again.count);
        if (sw == SW_DONE &&
            (again.count != new_pin->count || memcmp(again.digits, new_pin->digits, again.count) != 0))
            sw = SW_MISMATCH;
    }
    explicit_bzero(&again, sizeof again);
    return sw;
}

static RESPONSECODE pin_direct(struct slot *s, bool modify, const uint8_t *in, size_t in_len, PUCHAR out,
                               size_t *out_len) {
    struct pin_request request;
    struct entry old = {.count = 0};
    struct entry new_pin = {.count = 0};
    uint8_t apdu[PIN_APDU_MAX];
    size_t apdu_len = 0;
    RESPONSECODE rc = IFD_COMMUNICATION_ERROR;
    const size_t room = *out_len;
    *out_len = 0;
    if (room < 2)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    unsigned sw = pin_parse(in, in_len, modify, &request);
    if (sw == SW_DONE)
        sw = ask_pins(s, &request, &old, &new_pin);
    if (sw == SW_DONE)
        sw = pin_apdu(&request, old.digits, old.count, new_pin.digits, new_pin.count, apdu, &apdu_len);
    if (sw == SW_DONE) {
        *out_len = room;
        rc = ask_card(s, apdu, apdu_len, out, out_len);
    } else if (sw != 0) {
        out[0] = (uint8_t)(sw >> 8);
        out[1] = (uint8_t)sw;
        *out_len = 2;
        rc = IFD_SUCCESS;
    }
    explicit_bzero(&old, sizeof old);
    explicit_bzero(&new_pin, sizeof new_pin);
    explicit_bzero(apdu, sizeof apdu);
    return rc;
}

static RESPONSECODE feature_list(const struct slot *s, PUCHAR out, size_t *out_len) {
    static const uint8_t pad[] = {FEATURE_VERIFY_PIN_DIRECT, FEATURE_MODIFY_PIN_DIRECT, FEATURE_IFD_PIN_PROPERTIES,
                                  FEATURE_GET_TLV_PROPERTIES};
    const size_t first = s->set.pinpad ? 0 : 3;
    const size_t size = (sizeof pad - first) * sizeof(PCSC_TLV_STRUCTURE);
    if (*out_len < size)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    for (size_t i = first; i < sizeof pad; i++, out += sizeof(PCSC_TLV_STRUCTURE)) {
        const uint32_t code = htonl((uint32_t)SCARD_CTL_CODE(IOCTL_BASE + pad[i]));
        out[0] = pad[i];
        out[1] = sizeof code;
        memcpy(out + 2, &code, sizeof code);
    }
    *out_len = size;
    return IFD_SUCCESS;
}

static RESPONSECODE pin_properties(PUCHAR out, size_t *out_len) {
    const PIN_PROPERTIES_STRUCTURE p = {.wLcdLayout = 0, .bEntryValidationCondition = 7, .bTimeOut2 = 0};
    if (*out_len < sizeof p)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(out, &p, sizeof p);
    *out_len = sizeof p;
    return IFD_SUCCESS;
}

// Part 10, 2.6.14: tag, length, value; numbers little-endian.
static RESPONSECODE tlv_properties(const struct slot *s, PUCHAR out, size_t *out_len) {
    static const uint8_t pad[] = {
        PCSCv2_PART10_PROPERTY_wLcdLayout, 2, 0, 0, // no display
        PCSCv2_PART10_PROPERTY_bEntryValidationCondition, 1, 7,
        PCSCv2_PART10_PROPERTY_bTimeOut2, 1, 0, // not told apart from bTimeOut
        PCSCv2_PART10_PROPERTY_wLcdMaxCharacters, 2, 0, 0,
        PCSCv2_PART10_PROPERTY_wLcdMaxLines, 2, 0, 0,
        PCSCv2_PART10_PROPERTY_bMinPINSize, 1, 1,
        PCSCv2_PART10_PROPERTY_bMaxPINSize, 1, KEYS_MAX};
    static const uint8_t all[] = {
        PCSCv2_PART10_PROPERTY_sFirmwareID, 7, 'c', 'p', 'x', '-', 's', 'i', 'm',
        PCSCv2_PART10_PROPERTY_bPPDUSupport, 1, 0,
        PCSCv2_PART10_PROPERTY_dwMaxAPDUDataSize, 4, 0, 0, 1, 0}; // 65,536: extended APDUs go through
    const size_t pad_len = s->set.pinpad ? sizeof pad : 0;
    if (*out_len < pad_len + sizeof all)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(out, pad, pad_len);
    memcpy(out + pad_len, all, sizeof all);
    *out_len = pad_len + sizeof all;
    return IFD_SUCCESS;
}

RESPONSECODE reader_control(struct slot *s, DWORD code, const uint8_t *in, size_t in_len, PUCHAR out,
                            size_t *out_len) {
    switch (code) {
    case CM_IOCTL_GET_FEATURE_REQUEST:
        return feature_list(s, out, out_len);
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_GET_TLV_PROPERTIES):
        return tlv_properties(s, out, out_len);
    default:
        break;
    }
    if (!s->set.pinpad)
        return IFD_ERROR_NOT_SUPPORTED;
    switch (code) {
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_IFD_PIN_PROPERTIES):
        return pin_properties(out, out_len);
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_VERIFY_PIN_DIRECT):
        return pin_direct(s, false, in, in_len, out, out_len);
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_MODIFY_PIN_DIRECT):
        return pin_direct(s, true, in, in_len, out, out_len);
    default:
        return IFD_ERROR_NOT_SUPPORTED;
    }
}

