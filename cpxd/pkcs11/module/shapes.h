/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole calls of the shapes that many functions share.
 */
#ifndef CPXD_SHAPES_H
#define CPXD_SHAPES_H

#include "rpc.h"

CK_RV call_session(enum call_id id, CK_SESSION_HANDLE session);
CK_RV call_object(enum call_id id, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_RV invalid);
/* *Init of an operation; `cancels` is its flag in C_SessionCancel, which a NULL mechanism asks for. */
CK_RV call_init(enum call_id id, CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, const CK_OBJECT_HANDLE *key,
                CK_FLAGS cancels);
CK_RV call_in(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len);
CK_RV call_in_in(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *first, CK_ULONG first_len,
                 const CK_BYTE *second, CK_ULONG second_len);
CK_RV call_out(enum call_id id, CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len);
/* Data longer than a frame: CKR_DATA_LEN_RANGE, and the operation `cancels` is ended. */
CK_RV call_in_out(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
                  CK_ULONG *out_len, CK_FLAGS cancels);
CK_RV call_cancel(CK_SESSION_HANDLE session, CK_FLAGS flags);

/* Nothing in memory is longer: a length of more is a mistake of the host, and its data is not looked at. */
#define LENGTH_MAX ((CK_ULONG)1 << 47)

/* An Update call whose data may be longer than a frame: sent in pieces. */
CK_RV call_update(enum call_id id, CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len);
/* The same for a call that takes all data at once and returns a short result: beyond a frame, its Update and Final. */
CK_RV call_whole(enum call_id whole, enum call_id update, enum call_id final, CK_SESSION_HANDLE session,
                 const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len);
CK_RV call_verify(CK_SESSION_HANDLE session, const CK_BYTE *in, CK_ULONG in_len, const CK_BYTE *signature,
                  CK_ULONG signature_len);

#endif
