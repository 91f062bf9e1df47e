// SPDX-License-Identifier: Apache-2.0
#ifndef CPXSIM_CONTROL_H
#define CPXSIM_CONTROL_H

#include <ifdhandler.h>

#include "slot.h"

// Both want the slot's lock held. out_len: room in, length out (0 on error).

// One command APDU, one answer; an answer has a status word at least.
RESPONSECODE ask_card(struct slot *s, const uint8_t *apdu, size_t len, PUCHAR out, size_t *out_len);

// SCardControl: GET_FEATURE_REQUEST, TLV properties; with a PIN pad also its properties, verify and modify.
RESPONSECODE reader_control(struct slot *s, DWORD code, const uint8_t *in, size_t in_len, PUCHAR out, size_t *out_len);

#endif
