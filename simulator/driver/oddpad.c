// SPDX-License-Identifier: Apache-2.0
#include "oddpad.h"

#include <reader.h>

#include <string.h>

#include "control.h"

enum { IOCTL_BASE = 3500, TLV = sizeof(PCSC_TLV_STRUCTURE), REQUEST_MAX = 300 };

static RESPONSECODE say(const uint8_t *answer, size_t len, PUCHAR out, size_t *out_len) {
    if (*out_len < len)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(out, answer, len);
    *out_len = len;
    return IFD_SUCCESS;
}

static RESPONSECODE odd_list(struct slot *s, PUCHAR out, size_t *out_len) {
    RESPONSECODE rc = reader_control(s, CM_IOCTL_GET_FEATURE_REQUEST, NULL, 0, out, out_len);
    if (rc != IFD_SUCCESS)
        return rc;
    if (s->set.oddity == ODD_VERIFY_ONLY) { // the entry behind the first one goes
        memmove(out + TLV, out + (2 * TLV), *out_len - (2 * TLV));
        *out_len -= TLV;
    }
    if (s->set.oddity == ODD_CUT_LIST)
        *out_len -= 3;
    return rc;
}

static RESPONSECODE odd_tlv(struct slot *s, PUCHAR out, size_t *out_len) {
    static const uint8_t bad[] = {PCSCv2_PART10_PROPERTY_bMinPINSize, 2, 9, 0, PCSCv2_PART10_PROPERTY_bMaxPINSize, 1, 0,
                                  PCSCv2_PART10_PROPERTY_bEntryValidationCondition, 9, 1};
    static const uint8_t many[] = {PCSCv2_PART10_PROPERTY_bMinPINSize, 1, 6, PCSCv2_PART10_PROPERTY_bMaxPINSize, 1, 12};
    if (s->set.oddity == ODD_BAD_TLV)
        return say(bad, sizeof bad, out, out_len);
    if (s->set.oddity == ODD_LONG)
        return say(many, sizeof many, out, out_len);
    return reader_control(s, SCARD_CTL_CODE(IOCTL_BASE + FEATURE_GET_TLV_PROPERTIES), NULL, 0, out, out_len);
}

// wPINMaxExtraDigit is little-endian: the largest number of digits comes first.
static RESPONSECODE odd_entry(struct slot *s, DWORD code, const uint8_t *in, size_t in_len, PUCHAR out,
                              size_t *out_len) {
    static const uint8_t unknown[] = {0x6D, 0x00};
    static const uint8_t parameter[] = {0x6B, 0x80};
    const size_t at = code == SCARD_CTL_CODE(IOCTL_BASE + FEATURE_MODIFY_PIN_DIRECT) ? 7 : 5;
    const size_t validation = at == 7 ? 10 : 7;
    uint8_t request[REQUEST_MAX];
    if (s->set.oddity == ODD_REFUSES)
        return say(unknown, sizeof unknown, out, out_len);
    if (s->set.oddity == ODD_LIAR || in_len <= validation || in_len > sizeof request)
        return IFD_ERROR_NOT_SUPPORTED;
    if (s->set.oddity == ODD_EXACT && (in[at] != in[at + 1] || in[validation] != 2))
        return say(parameter, sizeof parameter, out, out_len);
    memcpy(request, in, in_len);
    if (s->set.oddity == ODD_SWAPPED) {
        request[at] = in[at + 1];
        request[at + 1] = in[at];
    }
    return reader_control(s, code, request, in_len, out, out_len);
}

RESPONSECODE odd_control(struct slot *s, DWORD code, const uint8_t *in, size_t in_len, PUCHAR out, size_t *out_len) {
    static const uint8_t short_properties[] = {0, 0, 7};
    switch (code) {
    case CM_IOCTL_GET_FEATURE_REQUEST:
        return odd_list(s, out, out_len);
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_GET_TLV_PROPERTIES):
        return odd_tlv(s, out, out_len);
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_VERIFY_PIN_DIRECT):
    case SCARD_CTL_CODE(IOCTL_BASE + FEATURE_MODIFY_PIN_DIRECT):
        return odd_entry(s, code, in, in_len, out, out_len);
    default:
        break;
    }
    if (s->set.oddity == ODD_BAD_TLV && code == SCARD_CTL_CODE(IOCTL_BASE + FEATURE_IFD_PIN_PROPERTIES))
        return say(short_properties, sizeof short_properties, out, out_len);
    return reader_control(s, code, in, in_len, out, out_len);
}
