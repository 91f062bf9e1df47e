/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc.h"

#include <string.h>

#include "attribute.h"
#include "mechanism.h"

/* Handles given to the host carry the number of the connection in their upper bits (0 on the first), so that one
 * from before the daemon restarted never names something of after. */
#define HANDLE_BITS 48
#define HANDLE_MASK (((CK_ULONG)1 << HANDLE_BITS) - 1)

_Static_assert(sizeof(CK_ULONG) == 8, "handles are tagged: a 64-bit CK_ULONG is needed");

/* Entries of a list asked for at once, at most. */
#define LIST_MAX 16384U

static CK_ULONG tag_of(const struct rpc *rpc)
{
    return (CK_ULONG)((rpc->peer.generation - 1) & 0xffff) << HANDLE_BITS;
}

void rpc_enter(struct rpc *rpc, enum call_id id)
{
    *rpc = (struct rpc){.call = call_find(id), .connection = &library.calls};
    rpc->rv = library_enter(&rpc->cancel_state);
    rpc->entered = rpc->rv == CKR_OK;
    rpc->limit = rpc->call->limit;
}

CK_RV rpc_leave(struct rpc *rpc)
{
    CK_RV rv = rpc->rv;

    if (rv == CKR_OK && rpc->answer.at != rpc->answer.len)
        buffer_fail(&rpc->answer, CKR_DEVICE_ERROR);
    if (rpc->answer.failed != CKR_OK) {
        rv = CKR_DEVICE_ERROR;
        connection_drop(rpc->connection, rpc->peer.generation);
    }
    buffer_clear(&rpc->frame);
    buffer_clear(&rpc->answer);
    if (rpc->entered)
        library_leave(rpc->cancel_state);
    return rv;
}

void rpc_fail(struct rpc *rpc, CK_RV rv)
{
    if (rpc->rv == CKR_OK)
        rpc->rv = rv;
}

void rpc_require(struct rpc *rpc, bool condition)
{
    if (!condition)
        rpc_fail(rpc, CKR_ARGUMENTS_BAD);
}

/* A refusal by the peer to know us is none of our host's business. */
static CK_RV from_peer(CK_RV rv)
{
    return rv == CKR_CRYPTOKI_NOT_INITIALIZED || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_DEVICE_ERROR : rv;
}

static CK_RV from_outcome(struct rpc *rpc, enum outcome outcome)
{
    switch (outcome) {
    case DONE:
        return CKR_OK;
    case ABSENT: /* no slot was ever shown, or all of them are gone */
        rpc->no_daemon = true;
        return rpc->peer.generation == 0 ? CKR_SLOT_ID_INVALID : CKR_DEVICE_REMOVED;
    case STALE:
        return CKR_SESSION_HANDLE_INVALID;
    case LOST:
        return CKR_DEVICE_REMOVED;
    case CANCELLED:
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    case NO_LOCK:
        return CKR_CANT_LOCK;
    case TIMED_OUT:
    case MALFORMED:
        break;
    }
    return CKR_DEVICE_ERROR;
}

static void begin(struct rpc *rpc)
{
    frame_begin(&rpc->frame, rpc->call, FRAME_MARK, sizeof FRAME_MARK - 1);
}

void rpc_connect(struct rpc *rpc)
{
    if (rpc->rv != CKR_OK)
        return;
    rpc_fail(rpc, from_outcome(rpc, connection_open(rpc->connection, &rpc->peer)));
    begin(rpc);
}

void rpc_on(struct rpc *rpc, const struct peer *peer)
{
    if (rpc->rv != CKR_OK)
        return;
    rpc->peer = *peer;
    begin(rpc);
}

void rpc_slot(struct rpc *rpc, CK_SLOT_ID slot)
{
    rpc_connect(rpc);
    rpc_put_ulong(rpc, slot);
}

void rpc_session(struct rpc *rpc, CK_SESSION_HANDLE session)
{
    if (rpc->rv != CKR_OK)
        return;
    rpc_fail(rpc, from_outcome(rpc, connection_peek(rpc->connection, &rpc->peer)));
    if (session == CK_INVALID_HANDLE || (session & ~HANDLE_MASK) != tag_of(rpc))
        rpc_fail(rpc, CKR_SESSION_HANDLE_INVALID);
    begin(rpc);
    rpc_put_ulong(rpc, session & HANDLE_MASK);
}

void rpc_put_byte(struct rpc *rpc, CK_BYTE value)
{
    buffer_put_u8(&rpc->frame, value);
}

void rpc_put_ulong(struct rpc *rpc, CK_ULONG value)
{
    buffer_put_u64(&rpc->frame, value);
}

void rpc_put_object(struct rpc *rpc, CK_OBJECT_HANDLE object, CK_RV invalid)
{
    if (object != CK_INVALID_HANDLE && (object & ~HANDLE_MASK) != tag_of(rpc))
        rpc_fail(rpc, invalid);
    rpc_put_ulong(rpc, object & HANDLE_MASK);
}

void rpc_put_bytes(struct rpc *rpc, const void *data, CK_ULONG len)
{
    rpc_require(rpc, data != NULL || len == 0);
    buffer_put_u8(&rpc->frame, 1);
    if (rpc->rv == CKR_OK)
        buffer_put_bytes(&rpc->frame, data, len);
}

/* "fy": 0 is a size query. A buffer without room is NO_BYTES from version 1 on; before, one byte is asked for, so
 * that an operation with an empty result still ends. */
void rpc_put_room(struct rpc *rpc, const void *out, CK_ULONG len)
{
    uint32_t room = len > REQUEST_MAX ? (uint32_t)REQUEST_MAX : (uint32_t)len;

    if (out == NULL)
        room = 0;
    else if (len == 0)
        room = rpc->peer.version >= 1 ? NO_BYTES : 1;
    buffer_put_u32(&rpc->frame, room);
}

void rpc_put_count(struct rpc *rpc, const void *out, CK_ULONG count)
{
    if (out == NULL)
        count = 0;
    buffer_put_u32(&rpc->frame, (uint32_t)(count > LIST_MAX ? LIST_MAX : count));
}

void rpc_put_all(struct rpc *rpc)
{
    buffer_put_u32(&rpc->frame, LIST_MAX);
}

void rpc_put_template(struct rpc *rpc, const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    if (rpc->rv == CKR_OK)
        attribute_put_template(&rpc->frame, attributes, count, rpc->peer.version);
}

void rpc_put_mechanism(struct rpc *rpc, const CK_MECHANISM *mechanism)
{
    rpc_require(rpc, mechanism != NULL);
    if (rpc->rv == CKR_OK)
        mechanism_put(&rpc->frame, mechanism, rpc->peer.version);
}

bool rpc_run(struct rpc *rpc)
{
    enum outcome outcome;

    if (rpc->rv == CKR_OK) {
        frame_finish(&rpc->frame, sizeof FRAME_MARK - 1, rpc->peer.is_cpxd ? CPXD_REQUEST_MAX : REQUEST_MAX);
        rpc_fail(rpc, rpc->frame.failed);
    }
    if (rpc->rv != CKR_OK)
        return false;
    outcome = connection_exchange(rpc->connection, rpc->peer.generation, &rpc->frame, &rpc->answer, rpc->limit);
    if ((outcome == LOST || outcome == STALE) && rpc->repeatable) {
        outcome = connection_open(rpc->connection, &rpc->peer);
        if (outcome == DONE)
            outcome = connection_exchange(rpc->connection, rpc->peer.generation, &rpc->frame, &rpc->answer, rpc->limit);
    }
    rpc_fail(rpc, from_outcome(rpc, outcome));
    if (rpc->rv == CKR_OK)
        rpc_fail(rpc, from_peer(answer_open(&rpc->answer, rpc->call)));
    return rpc->rv == CKR_OK;
}

CK_ULONG rpc_get_ulong(struct rpc *rpc)
{
    return (CK_ULONG)buffer_get_u64(&rpc->answer);
}

CK_VERSION rpc_get_version(struct rpc *rpc)
{
    CK_VERSION version;

    version.major = buffer_get_u8(&rpc->answer);
    version.minor = buffer_get_u8(&rpc->answer);
    return version;
}

void rpc_get_string(struct rpc *rpc, CK_UTF8CHAR *to, size_t len)
{
    size_t got;
    const uint8_t *string = buffer_get_bytes(&rpc->answer, &got);

    if (string == NULL || got != len) {
        buffer_fail(&rpc->answer, CKR_DEVICE_ERROR);
        memset(to, ' ', len);
        return;
    }
    memcpy(to, string, len);
}

static CK_ULONG mark(struct rpc *rpc, uint64_t handle)
{
    if (handle == CK_INVALID_HANDLE || (handle & ~HANDLE_MASK) != 0)
        buffer_fail(&rpc->answer, CKR_DEVICE_ERROR);
    return (CK_ULONG)handle | tag_of(rpc);
}

CK_ULONG rpc_get_handle(struct rpc *rpc)
{
    return mark(rpc, buffer_get_u64(&rpc->answer));
}

void rpc_get_bytes(struct rpc *rpc, CK_BYTE *out, CK_ULONG *len)
{
    bool present = buffer_get_u8(&rpc->answer) != 0;
    const uint8_t *bytes = NULL;
    size_t got;

    if (present)
        bytes = buffer_get_bytes(&rpc->answer, &got);
    else
        got = buffer_get_u32(&rpc->answer);
    if (rpc->answer.failed != CKR_OK)
        return;
    if (out != NULL && (!present || got > *len))
        rpc_fail(rpc, CKR_BUFFER_TOO_SMALL);
    else if (out != NULL && got != 0)
        memcpy(out, bytes, got);
    *len = got;
}

static CK_ULONG keep_slot(struct rpc *rpc, uint64_t value, bool *keep)
{
    (void)rpc;
    (void)keep;
    return (CK_ULONG)value;
}

static CK_ULONG keep_object(struct rpc *rpc, uint64_t value, bool *keep)
{
    (void)keep;
    return mark(rpc, value);
}

static CK_ULONG keep_mechanism(struct rpc *rpc, uint64_t value, bool *keep)
{
    (void)rpc;
    *keep = mechanism_is_carried((CK_MECHANISM_TYPE)value);
    return (CK_ULONG)value;
}

/* "au". Counts what is kept, also beyond the caller's room: that is then the room he needs. */
static void get_list(struct rpc *rpc, CK_ULONG *out, CK_ULONG *count,
                     CK_ULONG (*taken)(struct rpc *rpc, uint64_t value, bool *keep))
{
    bool present = buffer_get_u8(&rpc->answer) != 0;
    uint32_t got = buffer_get_u32(&rpc->answer);
    CK_ULONG kept = 0;

    if (present && got > (rpc->answer.len - rpc->answer.at) / 8)
        buffer_fail(&rpc->answer, CKR_DEVICE_ERROR);
    for (uint32_t i = 0; present && i < got && rpc->answer.failed == CKR_OK; i++) {
        bool keep = true;
        CK_ULONG value = taken(rpc, buffer_get_u64(&rpc->answer), &keep);

        if (keep && out != NULL && kept < *count)
            out[kept] = value;
        kept += keep;
    }
    if (rpc->answer.failed != CKR_OK)
        return;
    if (!present)
        kept = got;
    if (out != NULL && (!present || kept > *count))
        rpc_fail(rpc, CKR_BUFFER_TOO_SMALL);
    *count = kept;
}

void rpc_get_slots(struct rpc *rpc, CK_SLOT_ID *out, CK_ULONG *count)
{
    get_list(rpc, out, count, keep_slot);
}

void rpc_get_objects(struct rpc *rpc, CK_OBJECT_HANDLE *out, CK_ULONG *count)
{
    get_list(rpc, out, count, keep_object);
}

void rpc_get_mechanisms(struct rpc *rpc, CK_MECHANISM_TYPE *out, CK_ULONG *count)
{
    get_list(rpc, out, count, keep_mechanism);
}
