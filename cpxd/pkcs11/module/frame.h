/* SPDX-License-Identifier: Apache-2.0
 *
 * The shape of a request and of an answer (p11-kit RPC): frame header, options, then u32 call number, the
 * signature as a byte string, the values.
 */
#ifndef CPXD_FRAME_H
#define CPXD_FRAME_H

#include "buffer.h"
#include "calls.h"

#define FRAME_HEADER 12
#define FRAME_OPTIONS_MAX 65536U /* longest options field accepted */

/* The options of every frame after the first of a connection. */
#define FRAME_MARK "cpx1;"

/* Header (lengths still open), options, call number, signature. */
void frame_begin(struct buffer *frame, const struct call *call, const void *options, size_t options_len);
/* Writes the lengths; CKR_DATA_LEN_RANGE beyond the limit. */
void frame_finish(struct buffer *frame, size_t options_len, size_t limit);

/* Reads up to the values. CKR_OK: an answer to this call. The peer's CK_RV when it refused. CKR_DEVICE_ERROR and
 * answer->failed: not an answer to this call. */
CK_RV answer_open(struct buffer *answer, const struct call *call);

#endif
