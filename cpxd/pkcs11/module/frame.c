/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <string.h>

void frame_begin(struct buffer *frame, const struct call *call, const void *options, size_t options_len)
{
    static const uint8_t EMPTY[FRAME_HEADER];

    buffer_put_raw(frame, EMPTY, sizeof EMPTY);
    buffer_put_raw(frame, options, options_len);
    buffer_put_u32(frame, (uint32_t)call->id);
    buffer_put_bytes(frame, call->request, strlen(call->request));
}

void frame_finish(struct buffer *frame, size_t options_len, size_t limit)
{
    if (frame->failed != CKR_OK)
        return;
    if (frame->len > limit) {
        buffer_fail(frame, CKR_DATA_LEN_RANGE);
        return;
    }
    store_u32(frame->data + 4, (uint32_t)options_len);
    store_u32(frame->data + 8, (uint32_t)(frame->len - FRAME_HEADER - options_len));
}

CK_RV answer_open(struct buffer *answer, const struct call *call)
{
    uint32_t id = buffer_get_u32(answer);
    size_t len;
    const uint8_t *signature = buffer_get_bytes(answer, &len);
    bool refused = id == CALL_ERROR;
    const char *expected = refused ? "u" : call->answer;
    uint64_t why;

    if (answer->failed != CKR_OK || (!refused && id != (uint32_t)call->id) || signature == NULL ||
        len != strlen(expected) || memcmp(signature, expected, len) != 0) {
        buffer_fail(answer, CKR_DEVICE_ERROR);
        return CKR_DEVICE_ERROR;
    }
    if (!refused)
        return CKR_OK;
    why = buffer_get_u64(answer);
    if (answer->failed != CKR_OK || answer->at != answer->len || why == CKR_OK || why > UINT32_MAX) {
        buffer_fail(answer, CKR_DEVICE_ERROR);
        return CKR_DEVICE_ERROR;
    }
    return (CK_RV)why;
}
