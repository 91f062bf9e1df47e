/* SPDX-License-Identifier: Apache-2.0
 *
 * Mechanisms on the wire: u32 type, then the parameter. Versions 0 and 1 of the protocol write an absent parameter
 * as a NULL byte string; version 2 writes nothing after a mechanism that never has one, and a presence byte
 * otherwise.
 */
#ifndef CPXD_MECHANISM_H
#define CPXD_MECHANISM_H

#include "buffer.h"

/* false: it needs a parameter that cannot travel, and is kept from the host. */
bool mechanism_is_carried(CK_MECHANISM_TYPE type);

/* Failures of the buffer: CKR_MECHANISM_INVALID (its parameter cannot be carried), CKR_MECHANISM_PARAM_INVALID. */
void mechanism_put(struct buffer *buffer, const CK_MECHANISM *mechanism, int version);

/* Version 2: the mark that takes the place of a NULL mechanism, which cancels an operation (3.0, 5.2). */
void mechanism_put_cancel(struct buffer *buffer);

#endif
