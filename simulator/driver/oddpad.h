// SPDX-License-Identifier: Apache-2.0
// Keypads that are not as PC/SC part 10 has them: what a program must be able to live with.
#ifndef CPXSIM_ODDPAD_H
#define CPXSIM_ODDPAD_H

#include <stddef.h>
#include <stdint.h>

#include <ifdhandler.h>

#include "slot.h"

// SCardControl of a reader with a keypad of that oddity.
RESPONSECODE odd_control(struct slot *s, DWORD code, const uint8_t *in, size_t in_len, PUCHAR out, size_t *out_len);

#endif
