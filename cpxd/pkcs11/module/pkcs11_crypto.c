/* SPDX-License-Identifier: Apache-2.0
 *
 * Entry points: cryptographic operations, keys, random numbers, and what is not offered.
 */
#include "shapes.h"

#define RANDOM_PIECE ((CK_ULONG)64 * 1024)

CK_RV C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return call_init(CALL_C_EncryptInit, session, mechanism, &key, CKF_ENCRYPT);
}

CK_RV C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_Encrypt, session, in, in_len, out, out_len, CKF_ENCRYPT);
}

CK_RV C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_EncryptUpdate, session, in, in_len, out, out_len, CKF_ENCRYPT);
}

CK_RV C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_out(CALL_C_EncryptFinal, session, out, out_len);
}

CK_RV C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return call_init(CALL_C_DecryptInit, session, mechanism, &key, CKF_DECRYPT);
}

CK_RV C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_Decrypt, session, in, in_len, out, out_len, CKF_DECRYPT);
}

CK_RV C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_DecryptUpdate, session, in, in_len, out, out_len, CKF_DECRYPT);
}

CK_RV C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_out(CALL_C_DecryptFinal, session, out, out_len);
}

CK_RV C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism)
{
    return call_init(CALL_C_DigestInit, session, mechanism, NULL, CKF_DIGEST);
}

CK_RV C_Digest(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_whole(CALL_C_Digest, CALL_C_DigestUpdate, CALL_C_DigestFinal, session, in, in_len, out, out_len);
}

CK_RV C_DigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
    return call_update(CALL_C_DigestUpdate, session, in, in_len);
}

CK_RV C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    return call_object(CALL_C_DigestKey, session, key, CKR_KEY_HANDLE_INVALID);
}

CK_RV C_DigestFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_out(CALL_C_DigestFinal, session, out, out_len);
}

CK_RV C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return call_init(CALL_C_SignInit, session, mechanism, &key, CKF_SIGN);
}

CK_RV C_Sign(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_whole(CALL_C_Sign, CALL_C_SignUpdate, CALL_C_SignFinal, session, in, in_len, out, out_len);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
    return call_update(CALL_C_SignUpdate, session, in, in_len);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_out(CALL_C_SignFinal, session, out, out_len);
}

CK_RV C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return call_init(CALL_C_SignRecoverInit, session, mechanism, &key, CKF_SIGN_RECOVER);
}

CK_RV C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_SignRecover, session, in, in_len, out, out_len, CKF_SIGN_RECOVER);
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return call_init(CALL_C_VerifyInit, session, mechanism, &key, CKF_VERIFY);
}

CK_RV C_Verify(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *signature, CK_ULONG signature_len)
{
    return call_verify(session, in, in_len, signature, signature_len);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
    return call_update(CALL_C_VerifyUpdate, session, in, in_len);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG signature_len)
{
    return call_in(CALL_C_VerifyFinal, session, signature, signature_len);
}

CK_RV C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    return call_init(CALL_C_VerifyRecoverInit, session, mechanism, &key, CKF_VERIFY_RECOVER);
}

CK_RV C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_VerifyRecover, session, in, in_len, out, out_len, CKF_VERIFY_RECOVER);
}

CK_RV C_DigestEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_DigestEncryptUpdate, session, in, in_len, out, out_len, CKF_DIGEST | CKF_ENCRYPT);
}

CK_RV C_DecryptDigestUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_DecryptDigestUpdate, session, in, in_len, out, out_len, CKF_DECRYPT | CKF_DIGEST);
}

CK_RV C_SignEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_SignEncryptUpdate, session, in, in_len, out, out_len, CKF_SIGN | CKF_ENCRYPT);
}

CK_RV C_DecryptVerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len)
{
    return call_in_out(CALL_C_DecryptVerifyUpdate, session, in, in_len, out, out_len, CKF_DECRYPT | CKF_VERIFY);
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template, CK_ULONG count,
                    CK_OBJECT_HANDLE *key)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GenerateKey);
    rpc_require(&rpc, key != NULL);
    rpc_session(&rpc, session);
    rpc_put_mechanism(&rpc, mechanism);
    rpc_put_template(&rpc, template, count);
    if (rpc_run(&rpc))
        *key = rpc_get_handle(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
                        CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                        CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GenerateKeyPair);
    rpc_require(&rpc, public_key != NULL && private_key != NULL);
    rpc_session(&rpc, session);
    rpc_put_mechanism(&rpc, mechanism);
    rpc_put_template(&rpc, public_template, public_count);
    rpc_put_template(&rpc, private_template, private_count);
    if (rpc_run(&rpc)) {
        *public_key = rpc_get_handle(&rpc);
        *private_key = rpc_get_handle(&rpc);
    }
    return rpc_leave(&rpc);
}

CK_RV C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
                CK_BYTE *out, CK_ULONG *out_len)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_WrapKey);
    rpc_require(&rpc, out_len != NULL);
    rpc_session(&rpc, session);
    rpc_put_mechanism(&rpc, mechanism);
    rpc_put_object(&rpc, wrapping_key, CKR_WRAPPING_KEY_HANDLE_INVALID);
    rpc_put_object(&rpc, key, CKR_KEY_HANDLE_INVALID);
    rpc_put_room(&rpc, out, out_len != NULL ? *out_len : 0);
    if (rpc_run(&rpc))
        rpc_get_bytes(&rpc, out, out_len);
    return rpc_leave(&rpc);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *in,
                  CK_ULONG in_len, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_UnwrapKey);
    rpc_require(&rpc, key != NULL && in != NULL);
    rpc_session(&rpc, session);
    rpc_put_mechanism(&rpc, mechanism);
    rpc_put_object(&rpc, unwrapping_key, CKR_UNWRAPPING_KEY_HANDLE_INVALID);
    rpc_put_bytes(&rpc, in, in_len);
    rpc_put_template(&rpc, template, count);
    if (rpc_run(&rpc))
        *key = rpc_get_handle(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base_key, CK_ATTRIBUTE *template,
                  CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_DeriveKey);
    rpc_require(&rpc, key != NULL);
    rpc_session(&rpc, session);
    rpc_put_mechanism(&rpc, mechanism);
    rpc_put_object(&rpc, base_key, CKR_KEY_HANDLE_INVALID);
    rpc_put_template(&rpc, template, count);
    if (rpc_run(&rpc))
        *key = rpc_get_handle(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len)
{
    return call_update(CALL_C_SeedRandom, session, in, in_len);
}

/* Exactly so many bytes, or an error. None at all still asks for one: the session must be seen to exist. */
static CK_RV random_piece(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len)
{
    CK_BYTE unused;
    CK_ULONG wanted = len != 0 ? len : 1;
    CK_ULONG got = wanted;
    CK_RV rv = call_out(CALL_C_GenerateRandom, session, len != 0 ? out : &unused, &got);

    return rv == CKR_OK && got != wanted ? CKR_DEVICE_ERROR : rv;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG out_len)
{
    CK_RV rv = CKR_OK;

    if (out == NULL || out_len > LENGTH_MAX)
        return call_out(CALL_C_GenerateRandom, session, NULL, NULL); /* CKR_ARGUMENTS_BAD, once initialised */
    while (out_len > RANDOM_PIECE && rv == CKR_OK) {
        rv = random_piece(session, out, RANDOM_PIECE);
        out += RANDOM_PIECE;
        out_len -= RANDOM_PIECE;
    }
    return rv == CKR_OK ? random_piece(session, out, out_len) : rv;
}

static CK_RV refuse(CK_RV why)
{
    int cancel_state;
    CK_RV rv = library_enter(&cancel_state);

    if (rv != CKR_OK)
        return rv;
    library_leave(cancel_state);
    return why;
}

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE session)
{
    (void)session;
    return refuse(CKR_FUNCTION_NOT_PARALLEL);
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE session)
{
    (void)session;
    return refuse(CKR_FUNCTION_NOT_PARALLEL);
}

#pragma GCC diagnostic ignored "-Wunused-parameter" /* refused whatever they are given */
#define REFUSED(name, arguments) \
    CK_RV name arguments \
    { \
        return refuse(CKR_FUNCTION_NOT_SUPPORTED); \
    }
CK_FUNCTIONS_MESSAGE(REFUSED)
