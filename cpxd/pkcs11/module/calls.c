/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <stddef.h>

static const struct call CALLS[] = {
#define CALL_ROW(name, number, request, answer, limit) [CALL_##name] = {CALL_##name, request, answer, limit},
    RPC_CALLS(CALL_ROW)
#undef CALL_ROW
};

const struct call *call_find(enum call_id id)
{
    if ((size_t)id >= sizeof CALLS / sizeof CALLS[0] || CALLS[id].request == NULL)
        return NULL;
    return &CALLS[id];
}
