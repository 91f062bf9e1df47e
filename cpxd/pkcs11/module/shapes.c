/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes.h"

#include "mechanism.h"

#define PIECE ((CK_ULONG)512 * 1024)

CK_RV call_session(enum call_id id, CK_SESSION_HANDLE session)
{
    struct rpc rpc;

    rpc_enter(&rpc, id);
    rpc_session(&rpc, session);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV call_object(enum call_id id, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_RV invalid)
{
    struct rpc rpc;

    rpc_enter(&rpc, id);
    rpc_session(&rpc, session);
    rpc_put_object(&rpc, object, invalid);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

/* Version 0 has no word for it; a search it can end. */
CK_RV call_cancel(CK_SESSION_HANDLE session, CK_FLAGS flags)
{
    struct rpc rpc;
    bool old;

    rpc_enter(&rpc, CALL_C_SessionCancel);
    rpc_session(&rpc, session);
    old = rpc.rv == CKR_OK && rpc.peer.version < 1;
    if (old)
        rpc_fail(&rpc, CKR_OPERATION_CANCEL_FAILED);
    rpc_put_ulong(&rpc, flags);
    (void)rpc_run(&rpc);
    if (old && flags == CKF_FIND_OBJECTS) {
        (void)rpc_leave(&rpc);
        return call_session(CALL_C_FindObjectsFinal, session);
    }
    return rpc_leave(&rpc);
}

/* A NULL mechanism cancels (3.0, 5.2). Version 2 has a mark for it; version 1 has C_SessionCancel. */
static CK_RV cancel_by_init(enum call_id id, CK_SESSION_HANDLE session, const CK_OBJECT_HANDLE *key, CK_FLAGS cancels)
{
    struct rpc rpc;
    bool by_name;

    rpc_enter(&rpc, id);
    rpc_session(&rpc, session);
    rpc_require(&rpc, rpc.peer.version >= 1);
    mechanism_put_cancel(&rpc.frame);
    if (key != NULL)
        rpc_put_object(&rpc, *key, CKR_KEY_HANDLE_INVALID);
    by_name = rpc.rv == CKR_OK && rpc.peer.version == 1;
    if (!by_name)
        (void)rpc_run(&rpc);
    return by_name ? (rpc_leave(&rpc), call_cancel(session, cancels)) : rpc_leave(&rpc);
}

CK_RV call_init(enum call_id id, CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, const CK_OBJECT_HANDLE *key,
                CK_FLAGS cancels)
{
    struct rpc rpc;

    if (mechanism == NULL)
        return cancel_by_init(id, session, key, cancels);
    rpc_enter(&rpc, id);
    rpc_session(&rpc, session);
    rpc_put_mechanism(&rpc, mechanism);
    if (key != NULL)
        rpc_put_object(&rpc, *key, CKR_KEY_HANDLE_INVALID);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV call_in(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len)
{
    struct rpc rpc;

    rpc_enter(&rpc, id);
    rpc_require(&rpc, in != NULL || in_len == 0);
    rpc_session(&rpc, session);
    rpc_put_bytes(&rpc, in, in_len);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV call_in_in(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *first, CK_ULONG first_len,
                 const CK_BYTE *second, CK_ULONG second_len)
{
    struct rpc rpc;

    rpc_enter(&rpc, id);
    rpc_require(&rpc, (first != NULL || first_len == 0) && (second != NULL || second_len == 0));
    rpc_session(&rpc, session);
    rpc_put_bytes(&rpc, first, first_len);
    rpc_put_bytes(&rpc, second, second_len);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV call_out(enum call_id id, CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
    struct rpc rpc;

    rpc_enter(&rpc, id);
    rpc_require(&rpc, out_len != NULL);
    rpc_session(&rpc, session);
    rpc_put_room(&rpc, out, out_len != NULL ? *out_len : 0);
    if (rpc_run(&rpc))
        rpc_get_bytes(&rpc, out, out_len);
    return rpc_leave(&rpc);
}

CK_RV call_in_out(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
                  CK_ULONG *out_len, CK_FLAGS cancels)
{
    struct rpc rpc;
    bool unsent;
    CK_RV rv;

    rpc_enter(&rpc, id);
    rpc_require(&rpc, out_len != NULL && (in != NULL || in_len == 0));
    rpc_session(&rpc, session);
    rpc_put_bytes(&rpc, in, in_len);
    rpc_put_room(&rpc, out, out_len != NULL ? *out_len : 0);
    if (rpc_run(&rpc))
        rpc_get_bytes(&rpc, out, out_len);
    unsent = rpc.frame.failed == CKR_DATA_LEN_RANGE;
    rv = rpc_leave(&rpc);
    if (unsent) /* an error ends the operation, which the peer has not learnt */
        (void)call_cancel(session, cancels);
    return rv;
}

CK_RV call_update(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len)
{
    CK_RV rv = CKR_OK;

    if (in_len > LENGTH_MAX)
        in = NULL;
    while (in != NULL && in_len > PIECE && rv == CKR_OK) {
        rv = call_in(id, session, in, PIECE);
        in += PIECE;
        in_len -= PIECE;
    }
    return rv == CKR_OK ? call_in(id, session, in, in_len) : rv;
}

/* Data given in pieces to a mechanism of one part only (CKM_RSA_PKCS): that much was never possible. */
static CK_RV too_long(CK_RV rv)
{
    return rv == CKR_OPERATION_NOT_INITIALIZED || rv == CKR_FUNCTION_NOT_SUPPORTED ? CKR_DATA_LEN_RANGE : rv;
}

CK_RV call_whole(enum call_id whole, enum call_id update, enum call_id final, CK_SESSION_HANDLE session,
                 const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    CK_ULONG needed = 0;
    CK_RV rv;

    if (in_len > LENGTH_MAX)
        in = NULL;
    if (in == NULL || in_len <= PIECE || out_len == NULL)
        return call_in_out(whole, session, in, in_len, out, out_len, 0);
    if (out == NULL)
        return call_in_out(whole, session, in, PIECE, NULL, out_len, 0);
    /* Once data is given the operation cannot be asked again: the room must be known to suffice before. */
    rv = call_in_out(whole, session, in, PIECE, NULL, &needed, 0);
    if (rv == CKR_OK && needed > *out_len) {
        *out_len = needed;
        rv = CKR_BUFFER_TOO_SMALL;
    }
    if (rv != CKR_OK)
        return rv;
    rv = call_update(update, session, in, in_len);
    return rv == CKR_OK ? call_out(final, session, out, out_len) : too_long(rv);
}

CK_RV call_verify(CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len, const CK_BYTE *signature,
                  CK_ULONG signature_len)
{
    CK_RV rv;

    if (in_len > LENGTH_MAX)
        in = NULL;
    if (in == NULL || in_len <= PIECE)
        return call_in_in(CALL_C_Verify, session, in, in_len, signature, signature_len);
    rv = call_update(CALL_C_VerifyUpdate, session, in, in_len);
    return rv == CKR_OK ? call_in(CALL_C_VerifyFinal, session, signature, signature_len) : too_long(rv);
}
