/* SPDX-License-Identifier: Apache-2.0
 *
 * One PKCS#11 call, from its arguments to its CK_RV. The first failure sticks: the steps after it do nothing, so
 * an entry point is a straight line of rpc_enter, rpc_require…, rpc_slot or rpc_session, puts, rpc_run, gets,
 * rpc_leave.
 */
#ifndef CPXD_RPC_H
#define CPXD_RPC_H

#include "calls.h"
#include "library.h"

struct rpc {
    const struct call *call;
    struct connection *connection;
    struct peer peer;
    bool entered;
    bool repeatable; /* harmless to send again after the daemon came back */
    bool no_daemon;  /* it failed for want of a daemon */
    int cancel_state;
    int limit;       /* ms for the answer, once connected; LIMIT_NONE: no end */
    CK_RV rv;
    struct buffer frame;
    struct buffer answer;
};

void rpc_enter(struct rpc *rpc, enum call_id id);
CK_RV rpc_leave(struct rpc *rpc);

void rpc_fail(struct rpc *rpc, CK_RV rv);
/* CKR_ARGUMENTS_BAD unless the condition holds. */
void rpc_require(struct rpc *rpc, bool condition);

/* Begins the request: connects if need be. */
void rpc_connect(struct rpc *rpc);
/* Begins the request on the connection as it stands. */
void rpc_on(struct rpc *rpc, const struct peer *peer);
/* rpc_connect, and a slot as the first value. */
void rpc_slot(struct rpc *rpc, CK_SLOT_ID slot);
/* Begins the request on the connection the session was opened on, with the session as the first value. */
void rpc_session(struct rpc *rpc, CK_SESSION_HANDLE session);

void rpc_put_byte(struct rpc *rpc, CK_BYTE value);
void rpc_put_ulong(struct rpc *rpc, CK_ULONG value);
/* `invalid` is what a handle of another connection gets. */
void rpc_put_object(struct rpc *rpc, CK_OBJECT_HANDLE object, CK_RV invalid);
void rpc_put_bytes(struct rpc *rpc, const void *data, CK_ULONG len);
void rpc_put_room(struct rpc *rpc, const void *out, CK_ULONG len);
void rpc_put_count(struct rpc *rpc, const void *out, CK_ULONG count);
void rpc_put_all(struct rpc *rpc);
void rpc_put_template(struct rpc *rpc, const CK_ATTRIBUTE *attributes, CK_ULONG count);
void rpc_put_mechanism(struct rpc *rpc, const CK_MECHANISM *mechanism);

/* Sends, waits, and opens the answer: true when its values may be read. */
bool rpc_run(struct rpc *rpc);

CK_ULONG rpc_get_ulong(struct rpc *rpc);
CK_VERSION rpc_get_version(struct rpc *rpc);
void rpc_get_string(struct rpc *rpc, CK_UTF8CHAR *to, size_t len);
/* A handle of a session or an object, marked with the connection it belongs to. */
CK_ULONG rpc_get_handle(struct rpc *rpc);
/* Into the caller's buffer: size query, CKR_BUFFER_TOO_SMALL or the bytes. */
void rpc_get_bytes(struct rpc *rpc, CK_BYTE *out, CK_ULONG *len);
/* The same for a list of slots, for one of objects (each marked), and for one of mechanisms, of which those that
 * cannot be carried are left out; it must have been asked for whole, with rpc_put_all. */
void rpc_get_slots(struct rpc *rpc, CK_SLOT_ID *out, CK_ULONG *count);
void rpc_get_objects(struct rpc *rpc, CK_OBJECT_HANDLE *out, CK_ULONG *count);
void rpc_get_mechanisms(struct rpc *rpc, CK_MECHANISM_TYPE *out, CK_ULONG *count);

#endif
