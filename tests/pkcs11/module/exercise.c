/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile and a busy host, linked with the module so that sanitizers see all of it.
 *   exercise nulls            every function: before C_Initialize, without a daemon, with wrong handles, with NULLs
 *   exercise work             what a host does, and the corners of buffers (needs a SoftHSM2 token "lab" at slot 0)
 *   exercise threads          four threads on one connection, a fifth waiting for events
 * Lines "stage function CK_RV" are for the caller to judge; a failed check ends the program with its line number.
 */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "exercise.c:%d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)
#define OK(call) check_ok((call), __LINE__, #call)

static void check_ok(CK_RV rv, int line, const char *call)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "exercise.c:%d: %s is 0x%lx\n", line, call, rv);
        exit(1);
    }
}

#define CKA_CLASS 0UL
#define CKA_TOKEN 1UL
#define CKA_LABEL 3UL
#define CKA_VALUE 0x11UL
#define CKA_KEY_TYPE 0x100UL
#define CKA_ID 0x102UL
#define CKA_SENSITIVE 0x103UL
#define CKA_MODULUS 0x120UL
#define CKA_MODULUS_BITS 0x121UL
#define CKA_WRAP_TEMPLATE 0x40000211UL
#define CKA_ALLOWED_MECHANISMS 0x40000600UL

/* Ten words cover the longest list of arguments; the surplus is not looked at. */
typedef CK_RV (*any)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG);

static const struct {
    const char *name;
    any function;
} FUNCTIONS[] = {
#define ROW(name, arguments) {#name, (any)(uintptr_t)name},
    CK_FUNCTIONS_2_40(ROW) CK_FUNCTIONS_3_0(ROW)};

static void call_each(const char *stage, CK_ULONG first, CK_ULONG rest)
{
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; i++) {
        const char *name = FUNCTIONS[i].name;
        CK_RV rv;

        if (strcmp(name, "C_Initialize") == 0 || strcmp(name, "C_Finalize") == 0)
            continue;
        /* Closing is what ends the stage, and waiting would not end. */
        if (strncmp(name, "C_Close", 7) == 0 || (strcmp(name, "C_WaitForSlotEvent") == 0 && rest != 0))
            continue;
        rv = FUNCTIONS[i].function(first, rest, rest, rest, rest, rest, rest, rest, rest, rest);
        printf("%s %s 0x%lx\n", stage, name, rv);
    }
    fflush(stdout);
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    CK_SESSION_HANDLE session;

    OK(C_GetSlotList(CK_TRUE, slots, &count));
    CHECK(count >= 1);
    OK(C_OpenSession(slots[0], CKF_SERIAL_SESSION | 2, NULL, NULL, &session));
    return session;
}

static void nulls(void)
{
    static const CK_ULONG WRONG[] = {0, 0xdead, (CK_ULONG)1 << 48 | 1, ~0UL};

    call_each("uninitialized", 0, 0);
    OK(C_Initialize(NULL));
    call_each("null", 0, 0);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++)
        if (WRONG[i] != 0) /* a word that is no address is for first arguments only */
            for (size_t j = 0; j < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; j++)
                if (strstr(FUNCTIONS[j].name, "Initialize") == NULL && strstr(FUNCTIONS[j].name, "Finalize") == NULL &&
                    strstr(FUNCTIONS[j].name, "GetInfo") == NULL && strstr(FUNCTIONS[j].name, "Interface") == NULL &&
                    strstr(FUNCTIONS[j].name, "FunctionList") == NULL && strstr(FUNCTIONS[j].name, "WaitFor") == NULL)
                    printf("wrong %s 0x%lx\n", FUNCTIONS[j].name,
                           FUNCTIONS[j].function(WRONG[i], 0, 0, 0, 0, 0, 0, 0, 0, 0));
    for (size_t j = 0; j < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; j++) {
        const char *name = FUNCTIONS[j].name;
        CK_SESSION_HANDLE session;

        if (strstr(name, "nitialize") != NULL || strstr(name, "Finalize") != NULL || strstr(name, "Slot") != NULL ||
            strstr(name, "Token") != NULL || strstr(name, "Interface") != NULL || strstr(name, "C_GetInfo") != NULL ||
            strstr(name, "FunctionList") != NULL || strstr(name, "MechanismList") != NULL ||
            strstr(name, "MechanismInfo") != NULL || strcmp(name, "C_OpenSession") == 0)
            continue;
        session = open_session();
        printf("session %s 0x%lx\n", name, FUNCTIONS[j].function(session, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        (void)C_CloseSession(session);
    }
    OK(C_Finalize(NULL));
    call_each("finalized", 0, 0);
}

static CK_OBJECT_HANDLE generate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *public_key)
{
    CK_MECHANISM mechanism = {0, NULL, 0}; /* CKM_RSA_PKCS_KEY_PAIR_GEN */
    CK_ULONG bits = 1024;
    CK_BYTE exponent[] = {1, 0, 1}, yes = CK_TRUE;
    CK_ATTRIBUTE public_part[] = {
        {CKA_MODULUS_BITS, &bits, sizeof bits}, {0x122, exponent, sizeof exponent}, {0x10a, &yes, 1}};
    CK_ATTRIBUTE private_part[] = {{0x108, &yes, 1}, {CKA_SENSITIVE, &yes, 1}, {CKA_LABEL, (void *)"k", 1}};
    CK_OBJECT_HANDLE private_key;

    OK(C_GenerateKeyPair(session, &mechanism, public_part, 3, private_part, 3, public_key, &private_key));
    return private_key;
}

static void buffers(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
    CK_MECHANISM mechanism = {0x40, NULL, 0}; /* CKM_SHA256_RSA_PKCS */
    CK_BYTE data[1000] = {1}, signature[256];
    CK_ULONG len = 0;

    OK(C_SignInit(session, &mechanism, private_key));
    OK(C_Sign(session, data, sizeof data, NULL, &len));
    CHECK(len == 128);
    len = 0;
    CHECK(C_Sign(session, data, sizeof data, signature, &len) == CKR_BUFFER_TOO_SMALL && len == 128);
    len = 127;
    CHECK(C_Sign(session, data, sizeof data, signature, &len) == CKR_BUFFER_TOO_SMALL && len == 128);
    len = ~0UL;
    OK(C_Sign(session, data, sizeof data, signature, &len));
    CHECK(len == 128);
    OK(C_VerifyInit(session, &mechanism, public_key));
    OK(C_Verify(session, data, sizeof data, signature, len));
    OK(C_VerifyInit(session, &mechanism, public_key));
    data[0] ^= 1;
    CHECK(C_Verify(session, data, sizeof data, signature, len) == 0xC0);
}

/* More than one frame holds, all at once and in parts: the same digest. */
static void large(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key)
{
    const size_t size = 3 << 20;
    CK_BYTE *data = calloc(1, size);
    CK_MECHANISM sha256 = {0x250, NULL, 0}, sign = {0x40, NULL, 0}, raw = {1, NULL, 0};
    CK_BYTE whole[32], parts[32], signature[128];
    CK_ULONG len = 31;

    CHECK(data != NULL);
    data[size - 1] = 7;
    OK(C_DigestInit(session, &sha256));
    CHECK(C_Digest(session, data, size, whole, &len) == CKR_BUFFER_TOO_SMALL && len == 32);
    OK(C_Digest(session, data, size, whole, &len));
    OK(C_DigestInit(session, &sha256));
    for (size_t at = 0; at < size; at += size / 4)
        OK(C_DigestUpdate(session, data + at, size / 4));
    OK(C_DigestFinal(session, parts, &len));
    CHECK(memcmp(whole, parts, 32) == 0);

    len = sizeof signature;
    OK(C_SignInit(session, &sign, private_key));
    OK(C_Sign(session, data, size, signature, &len));
    OK(C_VerifyInit(session, &sign, public_key));
    OK(C_Verify(session, data, size, signature, len));
    OK(C_SignInit(session, &raw, private_key));
    CHECK(C_Sign(session, data, size, signature, &len) == CKR_DATA_LEN_RANGE);
    OK(C_EncryptInit(session, &raw, public_key));
    CHECK(C_Encrypt(session, data, size, signature, &len) != CKR_OK);
    free(data);
}

/* What no host means: nothing is read or written there, and the session goes on. */
static void lengths(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key)
{
    static const CK_ULONG WRONG[] = {~0UL, (CK_ULONG)1 << 60};
    CK_MECHANISM sha256 = {0x250, NULL, 0}, sign = {0x40, NULL, 0};
    CK_BYTE data[8] = {0}, out[256];
    CK_ULONG len = sizeof out;

    OK(C_DigestInit(session, &sha256));
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        CK_ATTRIBUTE list = {CKA_ALLOWED_MECHANISMS, data, WRONG[i]};

        CHECK(C_Digest(session, data, WRONG[i], out, &len) == CKR_ARGUMENTS_BAD);
        CHECK(C_DigestUpdate(session, data, WRONG[i]) == CKR_ARGUMENTS_BAD);
        CHECK(C_Verify(session, data, WRONG[i], out, sizeof out) == CKR_ARGUMENTS_BAD);
        CHECK(C_SeedRandom(session, data, WRONG[i]) == CKR_ARGUMENTS_BAD);
        CHECK(C_GenerateRandom(session, out, WRONG[i]) == CKR_ARGUMENTS_BAD);
        CHECK(C_FindObjectsInit(session, &list, 1) == CKR_ATTRIBUTE_VALUE_INVALID);
    }
    OK(C_Digest(session, data, sizeof data, out, &len));
    len = sizeof out;
    OK(C_SignInit(session, &sign, private_key));
    CHECK(C_Sign(session, data, WRONG[0], out, &len) == CKR_ARGUMENTS_BAD);
    OK(C_Sign(session, data, sizeof data, out, &len));
}

static void attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private_key)
{
    CK_ULONG class = 0, type = 0, half = 0;
    CK_BYTE sensitive = 7, modulus[128], small[4];
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},     {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_SENSITIVE, &sensitive, 1},        {CKA_MODULUS, NULL, 0},
        {CKA_MODULUS, modulus, sizeof modulus}, {CKA_LABEL, NULL, 0},
    };
    CK_ATTRIBUTE hard[] = {
        {0x123, NULL, 0},                   /* CKA_PRIVATE_EXPONENT, sensitive */
        {CKA_MODULUS, small, sizeof small}, /* too small */
        {CKA_CLASS, &half, 4},
        {~0UL, NULL, 0},
        {0x80001234, NULL, 0},
        {CKA_ID, NULL, 0},
    };
    CK_ATTRIBUTE lists[] = {{CKA_ALLOWED_MECHANISMS, NULL, 0}, {CKA_WRAP_TEMPLATE, NULL, 0}};
    CK_RV rv;

    OK(C_GetAttributeValue(session, private_key, template, 6));
    CHECK(class == 3 && type == 0 && sensitive == 1);
    CHECK(template[3].ulValueLen == 128 && template[4].ulValueLen == 128 && template[5].ulValueLen == 1);
    rv = C_GetAttributeValue(session, private_key, hard, 6);
    CHECK(rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL);
    for (int i = 0; i < 5; i++)
        CHECK(hard[i].ulValueLen == CK_UNAVAILABLE_INFORMATION);
    CHECK(hard[3].type == ~0UL && hard[5].ulValueLen == 0 && half == 0);
    CHECK(C_GetAttributeValue(session, private_key, template, 0) == CKR_OK);
    CHECK(C_GetAttributeValue(session, private_key, NULL, 0) == CKR_ARGUMENTS_BAD);
    CHECK(C_GetAttributeValue(session, private_key, template, ~0UL) == CKR_ARGUMENTS_BAD);
    (void)C_GetAttributeValue(session, private_key, lists, 2);
    CHECK(C_GetAttributeValue(session, private_key | (CK_ULONG)3 << 48, template, 6) == CKR_OBJECT_HANDLE_INVALID);
}

static void templates(CK_SESSION_HANDLE session)
{
    CK_ULONG class = 0; /* CKO_DATA */
    CK_BYTE no = CK_FALSE, value[] = "value";
    CK_ATTRIBUTE good[] = {{CKA_CLASS, &class, sizeof class}, {CKA_TOKEN, &no, 1}, {CKA_VALUE, value, sizeof value}};
    CK_ATTRIBUTE null_value = {CKA_VALUE, NULL, 5}, short_class = {CKA_CLASS, &class, 4};
    CK_ATTRIBUTE long_type = {(CK_ULONG)1 << 40, value, 5}, endless = {CKA_VALUE, value, ~0UL};
    CK_ATTRIBUTE nested = {CKA_WRAP_TEMPLATE, good, sizeof good};
    CK_OBJECT_HANDLE object, found[4];
    CK_ULONG count, size;

    OK(C_CreateObject(session, good, 3, &object));
    OK(C_GetObjectSize(session, object, &size));
    OK(C_FindObjectsInit(session, good, 3));
    CHECK(C_FindObjects(session, found, 0, &count) == CKR_OK && count == 0);
    CHECK(C_FindObjects(session, found, 0, NULL) == CKR_ARGUMENTS_BAD);
    OK(C_FindObjects(session, found, 4, &count));
    CHECK(count == 1 && found[0] == object);
    OK(C_FindObjects(session, found, 4, &count));
    CHECK(count == 0);
    OK(C_SessionCancel(session, CKF_FIND_OBJECTS));
    OK(C_FindObjectsInit(session, NULL, 0));
    OK(C_FindObjectsFinal(session));
    OK(C_DestroyObject(session, object));
    CHECK(C_FindObjectsInit(session, NULL, 1) == CKR_ARGUMENTS_BAD);
    CHECK(C_CreateObject(session, &null_value, 1, &object) == CKR_ARGUMENTS_BAD);
    CHECK(C_CreateObject(session, &short_class, 1, &object) == CKR_ATTRIBUTE_VALUE_INVALID);
    CHECK(C_CreateObject(session, &long_type, 1, &object) == CKR_ATTRIBUTE_TYPE_INVALID);
    CHECK(C_CreateObject(session, &endless, 1, &object) == CKR_ATTRIBUTE_VALUE_INVALID);
    CHECK(C_CreateObject(session, &nested, 1, &object) == CKR_ATTRIBUTE_TYPE_INVALID); /* version 0 */
}

static void work(void)
{
    CK_OBJECT_HANDLE public_key, private_key;
    CK_BYTE random[100000] = {0}, zero[16] = {0};
    CK_SESSION_HANDLE session;

    OK(C_Initialize(NULL));
    session = open_session();
    OK(C_Login(session, 1, (CK_UTF8CHAR *)"1234", 4));
    private_key = generate(session, &public_key);
    buffers(session, private_key, public_key);
    large(session, private_key, public_key);
    lengths(session, private_key);
    attributes(session, private_key);
    templates(session);
    OK(C_GenerateRandom(session, random, sizeof random));
    CHECK(memcmp(random + sizeof random - 16, zero, 16) != 0);
    OK(C_GenerateRandom(session, random, 0));
    OK(C_Logout(session));
    OK(C_CloseSession(session));
    CHECK(C_CloseSession(session) == CKR_SESSION_HANDLE_INVALID);
    OK(C_Finalize(NULL));
}

static void *busy(void *unused)
{
    CK_MECHANISM sha256 = {0x250, NULL, 0};
    CK_BYTE data[70000], digest[32];
    CK_SESSION_HANDLE session = open_session();
    CK_SESSION_INFO info;

    memset(data, 3, sizeof data);
    for (int i = 0; i < 150; i++) {
        CK_ULONG len = sizeof digest;

        OK(C_DigestInit(session, &sha256));
        OK(C_Digest(session, data, sizeof data, digest, &len));
        OK(C_GetSessionInfo(session, &info));
        OK(C_GenerateRandom(session, data, sizeof data));
    }
    OK(C_CloseSession(session));
    return unused;
}

static void *listen_for_events(void *rv)
{
    CK_SLOT_ID slot;

    *(CK_RV *)rv = C_WaitForSlotEvent(0, &slot, NULL);
    return NULL;
}

static void threads(void)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV waited = CKR_OK;
    pthread_t busy_ones[4], listener;

    OK(C_Initialize(&args));
    CHECK(pthread_create(&listener, NULL, listen_for_events, &waited) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&busy_ones[i], NULL, busy, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(busy_ones[i], NULL) == 0);
    OK(C_Finalize(NULL));
    CHECK(pthread_join(listener, NULL) == 0);
    CHECK(waited == CKR_CRYPTOKI_NOT_INITIALIZED || waited == CKR_FUNCTION_NOT_SUPPORTED);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    if (strcmp(argv[1], "nulls") == 0)
        nulls();
    else if (strcmp(argv[1], "work") == 0)
        work();
    else if (strcmp(argv[1], "threads") == 0)
        threads();
    else
        return 2;
    return 0;
}
