/* SPDX-License-Identifier: Apache-2.0
 *
 * Entry points: the library, slots and tokens, sessions, objects. Arguments are checked here; what an answer means
 * is the daemon's to say.
 */
#include "pkcs11.h"

#include <string.h>

#include "attribute.h"
#include "library_info.h"
#include "mechanism.h"
#include "shapes.h"

#define LABEL_LEN 32 /* C_InitToken: blank-padded, no NUL */
#define LIBRARY_VERSION {1, 0}

CK_RV C_Initialize(void *init_args)
{
    return library_initialize(init_args);
}

CK_RV C_Finalize(void *reserved)
{
    return reserved != NULL ? CKR_ARGUMENTS_BAD : library_finalize();
}

/* The library's own words: they need no daemon. */
static CK_RV get_info(CK_INFO *info, CK_BYTE major, CK_BYTE minor)
{
    static const char MANUFACTURER[] = "cpxd                            ";
    static const char DESCRIPTION[] = "cpxd PKCS#11 module             ";
    int cancel_state;
    CK_RV rv = library_enter(&cancel_state);

    if (rv != CKR_OK)
        return rv;
    library_leave(cancel_state);
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    *info = (CK_INFO){.cryptokiVersion = {major, minor}, .libraryVersion = LIBRARY_VERSION};
    memcpy(info->manufacturerID, MANUFACTURER, sizeof info->manufacturerID);
    memcpy(info->libraryDescription, DESCRIPTION, sizeof info->libraryDescription);
    return CKR_OK;
}

CK_RV C_GetInfo(CK_INFO *info)
{
    return get_info(info, 2, 40);
}

CK_RV library_info_3_0(CK_INFO *info)
{
    return get_info(info, 3, 0);
}

CK_RV C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetSlotList);
    rpc.repeatable = true;
    rpc_require(&rpc, count != NULL);
    rpc_connect(&rpc);
    rpc_put_byte(&rpc, token_present != CK_FALSE);
    rpc_put_count(&rpc, slots, count != NULL ? *count : 0);
    if (rpc_run(&rpc)) {
        rpc_get_slots(&rpc, slots, count);
    } else if (rpc.no_daemon) { /* it may come later: no slot yet is no error */
        *count = 0;
        (void)rpc_leave(&rpc);
        return CKR_OK;
    }
    return rpc_leave(&rpc);
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetSlotInfo);
    rpc.repeatable = true;
    rpc_require(&rpc, info != NULL);
    rpc_slot(&rpc, slot);
    if (rpc_run(&rpc)) {
        rpc_get_string(&rpc, info->slotDescription, sizeof info->slotDescription);
        rpc_get_string(&rpc, info->manufacturerID, sizeof info->manufacturerID);
        info->flags = rpc_get_ulong(&rpc);
        info->hardwareVersion = rpc_get_version(&rpc);
        info->firmwareVersion = rpc_get_version(&rpc);
    }
    return rpc_leave(&rpc);
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetTokenInfo);
    rpc.repeatable = true;
    rpc_require(&rpc, info != NULL);
    rpc_slot(&rpc, slot);
    if (rpc_run(&rpc)) {
        rpc_get_string(&rpc, info->label, sizeof info->label);
        rpc_get_string(&rpc, info->manufacturerID, sizeof info->manufacturerID);
        rpc_get_string(&rpc, info->model, sizeof info->model);
        rpc_get_string(&rpc, info->serialNumber, sizeof info->serialNumber);
        info->flags = rpc_get_ulong(&rpc);
        info->ulMaxSessionCount = rpc_get_ulong(&rpc);
        info->ulSessionCount = rpc_get_ulong(&rpc);
        info->ulMaxRwSessionCount = rpc_get_ulong(&rpc);
        info->ulRwSessionCount = rpc_get_ulong(&rpc);
        info->ulMaxPinLen = rpc_get_ulong(&rpc);
        info->ulMinPinLen = rpc_get_ulong(&rpc);
        info->ulTotalPublicMemory = rpc_get_ulong(&rpc);
        info->ulFreePublicMemory = rpc_get_ulong(&rpc);
        info->ulTotalPrivateMemory = rpc_get_ulong(&rpc);
        info->ulFreePrivateMemory = rpc_get_ulong(&rpc);
        info->hardwareVersion = rpc_get_version(&rpc);
        info->firmwareVersion = rpc_get_version(&rpc);
        rpc_get_string(&rpc, info->utcTime, sizeof info->utcTime);
    }
    return rpc_leave(&rpc);
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetMechanismList);
    rpc.repeatable = true;
    rpc_require(&rpc, count != NULL);
    rpc_slot(&rpc, slot);
    rpc_put_all(&rpc);
    if (rpc_run(&rpc))
        rpc_get_mechanisms(&rpc, list, count);
    return rpc_leave(&rpc);
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetMechanismInfo);
    rpc.repeatable = true;
    rpc_require(&rpc, info != NULL);
    rpc_slot(&rpc, slot);
    rpc_put_ulong(&rpc, type);
    if (rpc_run(&rpc)) {
        info->ulMinKeySize = rpc_get_ulong(&rpc);
        info->ulMaxKeySize = rpc_get_ulong(&rpc);
        info->flags = rpc_get_ulong(&rpc);
        if (!mechanism_is_carried(type))
            rpc_fail(&rpc, CKR_MECHANISM_INVALID);
    }
    return rpc_leave(&rpc);
}

/* Version 0 writes the label as a string, later ones as the 32 bytes it is. */
CK_RV C_InitToken(CK_SLOT_ID slot, CK_UTF8CHAR *pin, CK_ULONG pin_len, CK_UTF8CHAR *label)
{
    struct peer peer = {0};
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_InitToken);
    if (rpc.entered && connection_open(&library.calls, &peer) == DONE && peer.version >= 1)
        rpc.call = call_find(CALL_C_InitToken2);
    rpc_require(&rpc, label != NULL && (pin != NULL || pin_len == 0));
    rpc_slot(&rpc, slot);
    rpc_put_bytes(&rpc, pin, pin_len);
    if (rpc.rv == CKR_OK)
        buffer_put_bytes(&rpc.frame, label, LABEL_LEN);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_InitPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
    return call_in(CALL_C_InitPIN, session, pin, pin_len);
}

CK_RV C_SetPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR *old_pin, CK_ULONG old_len, CK_UTF8CHAR *new_pin, CK_ULONG new_len)
{
    return call_in_in(CALL_C_SetPIN, session, old_pin, old_len, new_pin, new_len);
}

/* The notification callback is never called: the protocol carries none. */
CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    struct rpc rpc;

    (void)application;
    (void)notify;
    rpc_enter(&rpc, CALL_C_OpenSession);
    rpc.repeatable = true;
    rpc_require(&rpc, session != NULL);
    if ((flags & CKF_SERIAL_SESSION) == 0)
        rpc_fail(&rpc, CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    rpc_slot(&rpc, slot);
    rpc_put_ulong(&rpc, flags);
    if (rpc_run(&rpc))
        *session = rpc_get_handle(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_CloseSession(CK_SESSION_HANDLE session)
{
    return call_session(CALL_C_CloseSession, session);
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_CloseAllSessions);
    rpc.repeatable = true;
    rpc_slot(&rpc, slot);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetSessionInfo);
    rpc_require(&rpc, info != NULL);
    rpc_session(&rpc, session);
    if (rpc_run(&rpc)) {
        info->slotID = rpc_get_ulong(&rpc);
        info->state = rpc_get_ulong(&rpc);
        info->flags = rpc_get_ulong(&rpc);
        info->ulDeviceError = rpc_get_ulong(&rpc);
    }
    return rpc_leave(&rpc);
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG *state_len)
{
    return call_out(CALL_C_GetOperationState, session, state, state_len);
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG state_len, CK_OBJECT_HANDLE encryption_key,
                          CK_OBJECT_HANDLE authentication_key)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_SetOperationState);
    rpc_require(&rpc, state != NULL);
    rpc_session(&rpc, session);
    rpc_put_bytes(&rpc, state, state_len);
    rpc_put_object(&rpc, encryption_key, CKR_KEY_HANDLE_INVALID);
    rpc_put_object(&rpc, authentication_key, CKR_KEY_HANDLE_INVALID);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_Login);
    rpc_require(&rpc, pin != NULL || pin_len == 0);
    rpc_session(&rpc, session);
    rpc_put_ulong(&rpc, user);
    rpc_put_bytes(&rpc, pin, pin_len);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_LoginUser(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG pin_len, CK_UTF8CHAR *name,
                  CK_ULONG name_len)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_LoginUser);
    rpc_require(&rpc, (pin != NULL || pin_len == 0) && (name != NULL || name_len == 0));
    rpc_session(&rpc, session);
    if (rpc.rv == CKR_OK && rpc.peer.version < 1)
        rpc_fail(&rpc, CKR_FUNCTION_NOT_SUPPORTED);
    rpc_put_ulong(&rpc, user);
    rpc_put_bytes(&rpc, pin, pin_len);
    rpc_put_bytes(&rpc, name, name_len);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_Logout(CK_SESSION_HANDLE session)
{
    return call_session(CALL_C_Logout, session);
}

CK_RV C_SessionCancel(CK_SESSION_HANDLE session, CK_FLAGS flags)
{
    return call_cancel(session, flags);
}

CK_RV C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *object)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_CreateObject);
    rpc_require(&rpc, template != NULL && object != NULL);
    rpc_session(&rpc, session);
    rpc_put_template(&rpc, template, count);
    if (rpc_run(&rpc))
        *object = rpc_get_handle(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count,
                   CK_OBJECT_HANDLE *new_object)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_CopyObject);
    rpc_require(&rpc, new_object != NULL);
    rpc_session(&rpc, session);
    rpc_put_object(&rpc, object, CKR_OBJECT_HANDLE_INVALID);
    rpc_put_template(&rpc, template, count);
    if (rpc_run(&rpc))
        *new_object = rpc_get_handle(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    return call_object(CALL_C_DestroyObject, session, object, CKR_OBJECT_HANDLE_INVALID);
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetObjectSize);
    rpc_require(&rpc, size != NULL);
    rpc_session(&rpc, session);
    rpc_put_object(&rpc, object, CKR_OBJECT_HANDLE_INVALID);
    if (rpc_run(&rpc))
        *size = rpc_get_ulong(&rpc);
    return rpc_leave(&rpc);
}

/* The answer carries the attributes and, when some of them could not be had, why. */
CK_RV C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct rpc rpc;
    CK_RV fits, told;

    rpc_enter(&rpc, CALL_C_GetAttributeValue);
    rpc_require(&rpc, template != NULL);
    rpc_session(&rpc, session);
    rpc_put_object(&rpc, object, CKR_OBJECT_HANDLE_INVALID);
    if (rpc.rv == CKR_OK)
        attribute_put_query(&rpc.frame, template, count, rpc.peer.version);
    if (rpc_run(&rpc)) {
        fits = attribute_get_answer(&rpc.answer, template, count);
        told = rpc_get_ulong(&rpc);
        rpc_fail(&rpc, told != CKR_OK ? told : fits);
    }
    return rpc_leave(&rpc);
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_SetAttributeValue);
    rpc_require(&rpc, template != NULL);
    rpc_session(&rpc, session);
    rpc_put_object(&rpc, object, CKR_OBJECT_HANDLE_INVALID);
    rpc_put_template(&rpc, template, count);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_FindObjectsInit);
    rpc_session(&rpc, session);
    rpc_put_template(&rpc, template, count);
    (void)rpc_run(&rpc);
    return rpc_leave(&rpc);
}

/* The protocol has no room of 0 entries, only a NULL list, which a search does not know: room for none is served
 * once the peer has seen that the search exists. */
CK_RV C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count)
{
    struct rpc rpc;
    CK_ULONG found = max;
    bool nothing = objects != NULL && max == 0;

    rpc_enter(&rpc, CALL_C_FindObjects);
    rpc_require(&rpc, objects != NULL && count != NULL);
    rpc_session(&rpc, session);
    rpc_put_count(&rpc, objects, max);
    if (rpc_run(&rpc)) {
        rpc_get_objects(&rpc, nothing ? NULL : objects, &found);
        *count = nothing ? 0 : found;
    } else if (nothing && count != NULL && rpc.rv == CKR_ARGUMENTS_BAD) {
        *count = 0;
        rpc.rv = CKR_OK;
    }
    return rpc_leave(&rpc);
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE session)
{
    return call_session(CALL_C_FindObjectsFinal, session);
}

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    return events_wait(flags, slot, reserved);
}
