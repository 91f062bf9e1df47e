/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls of the p11-kit RPC that this module makes: number, signatures of request and answer (which the peer
 * compares exactly), and how long an answer may take.
 */
#ifndef CPXD_CALLS_H
#define CPXD_CALLS_H

/* Milliseconds. READ may wait for the first reading of a card; SIGN and LOGIN may open a dialog (120 s). */
#ifndef LIMIT_INFO
#define LIMIT_INFO 2000
#endif
#ifndef LIMIT_READ
#define LIMIT_READ 10000
#endif
#ifndef LIMIT_CRYPTO
#define LIMIT_CRYPTO 60000
#endif
#ifndef LIMIT_DIALOG
#define LIMIT_DIALOG 130000
#endif
#define LIMIT_NONE (-1)

/* clang-format off */
#define RPC_CALLS(X) \
    X(C_Initialize, 1, "ayyay", "", LIMIT_INFO) \
    X(C_GetSlotList, 4, "yfu", "au", LIMIT_INFO) \
    X(C_GetSlotInfo, 5, "u", "ssuvv", LIMIT_INFO) \
    X(C_GetTokenInfo, 6, "u", "ssssuuuuuuuuuuuvvs", LIMIT_READ) \
    X(C_GetMechanismList, 7, "ufu", "au", LIMIT_INFO) \
    X(C_GetMechanismInfo, 8, "uu", "uuu", LIMIT_INFO) \
    X(C_InitToken, 9, "uayz", "", LIMIT_DIALOG) \
    X(C_OpenSession, 10, "uu", "u", LIMIT_READ) \
    X(C_CloseSession, 11, "u", "", LIMIT_INFO) \
    X(C_CloseAllSessions, 12, "u", "", LIMIT_INFO) \
    X(C_GetSessionInfo, 13, "u", "uuuu", LIMIT_INFO) \
    X(C_InitPIN, 14, "uay", "", LIMIT_DIALOG) \
    X(C_SetPIN, 15, "uayay", "", LIMIT_DIALOG) \
    X(C_GetOperationState, 16, "ufy", "ay", LIMIT_INFO) \
    X(C_SetOperationState, 17, "uayuu", "", LIMIT_INFO) \
    X(C_Login, 18, "uuay", "", LIMIT_DIALOG) \
    X(C_Logout, 19, "u", "", LIMIT_READ) \
    X(C_CreateObject, 20, "uaA", "u", LIMIT_CRYPTO) \
    X(C_CopyObject, 21, "uuaA", "u", LIMIT_CRYPTO) \
    X(C_DestroyObject, 22, "uu", "", LIMIT_CRYPTO) \
    X(C_GetObjectSize, 23, "uu", "u", LIMIT_READ) \
    X(C_GetAttributeValue, 24, "uufA", "aAu", LIMIT_READ) \
    X(C_SetAttributeValue, 25, "uuaA", "", LIMIT_CRYPTO) \
    X(C_FindObjectsInit, 26, "uaA", "", LIMIT_READ) \
    X(C_FindObjects, 27, "ufu", "au", LIMIT_READ) \
    X(C_FindObjectsFinal, 28, "u", "", LIMIT_INFO) \
    X(C_EncryptInit, 29, "uMu", "", LIMIT_CRYPTO) \
    X(C_Encrypt, 30, "uayfy", "ay", LIMIT_CRYPTO) \
    X(C_EncryptUpdate, 31, "uayfy", "ay", LIMIT_CRYPTO) \
    X(C_EncryptFinal, 32, "ufy", "ay", LIMIT_CRYPTO) \
    X(C_DecryptInit, 33, "uMu", "", LIMIT_DIALOG) \
    X(C_Decrypt, 34, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_DecryptUpdate, 35, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_DecryptFinal, 36, "ufy", "ay", LIMIT_DIALOG) \
    X(C_DigestInit, 37, "uM", "", LIMIT_CRYPTO) \
    X(C_Digest, 38, "uayfy", "ay", LIMIT_CRYPTO) \
    X(C_DigestUpdate, 39, "uay", "", LIMIT_CRYPTO) \
    X(C_DigestKey, 40, "uu", "", LIMIT_CRYPTO) \
    X(C_DigestFinal, 41, "ufy", "ay", LIMIT_CRYPTO) \
    X(C_SignInit, 42, "uMu", "", LIMIT_DIALOG) \
    X(C_Sign, 43, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_SignUpdate, 44, "uay", "", LIMIT_DIALOG) \
    X(C_SignFinal, 45, "ufy", "ay", LIMIT_DIALOG) \
    X(C_SignRecoverInit, 46, "uMu", "", LIMIT_DIALOG) \
    X(C_SignRecover, 47, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_VerifyInit, 48, "uMu", "", LIMIT_CRYPTO) \
    X(C_Verify, 49, "uayay", "", LIMIT_CRYPTO) \
    X(C_VerifyUpdate, 50, "uay", "", LIMIT_CRYPTO) \
    X(C_VerifyFinal, 51, "uay", "", LIMIT_CRYPTO) \
    X(C_VerifyRecoverInit, 52, "uMu", "", LIMIT_CRYPTO) \
    X(C_VerifyRecover, 53, "uayfy", "ay", LIMIT_CRYPTO) \
    X(C_DigestEncryptUpdate, 54, "uayfy", "ay", LIMIT_CRYPTO) \
    X(C_DecryptDigestUpdate, 55, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_SignEncryptUpdate, 56, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_DecryptVerifyUpdate, 57, "uayfy", "ay", LIMIT_DIALOG) \
    X(C_GenerateKey, 58, "uMaA", "u", LIMIT_CRYPTO) \
    X(C_GenerateKeyPair, 59, "uMaAaA", "uu", LIMIT_CRYPTO) \
    X(C_WrapKey, 60, "uMuufy", "ay", LIMIT_CRYPTO) \
    X(C_UnwrapKey, 61, "uMuayaA", "u", LIMIT_DIALOG) \
    X(C_DeriveKey, 62, "uMuaA", "u", LIMIT_DIALOG) \
    X(C_SeedRandom, 63, "uay", "", LIMIT_CRYPTO) \
    X(C_GenerateRandom, 64, "ufy", "ay", LIMIT_CRYPTO) \
    X(C_WaitForSlotEvent, 65, "u", "u", LIMIT_NONE) \
    X(C_LoginUser, 66, "uuayay", "", LIMIT_DIALOG) \
    X(C_SessionCancel, 67, "uu", "", LIMIT_READ) \
    X(C_InitToken2, 88, "uays", "", LIMIT_DIALOG)
/* clang-format on */

enum call_id {
    CALL_ERROR = 0, /* an answer only: "u", a CK_RV */
#define CALL_NUMBER(name, number, request, answer, limit) CALL_##name = (number),
    RPC_CALLS(CALL_NUMBER)
#undef CALL_NUMBER
};

struct call {
    enum call_id id;
    const char *request;
    const char *answer;
    int limit; /* ms; LIMIT_NONE: until C_Finalize */
};

/* The row of a call; never NULL for an enumerator above CALL_ERROR. */
const struct call *call_find(enum call_id id);

#endif
