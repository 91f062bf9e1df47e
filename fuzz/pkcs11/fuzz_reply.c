/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as what a daemon answers: whole calls of the module over a socket pair, with buffers of the exact size.
 * Input: protocol version, call, then the stream, behind a fitting frame header when the third byte is even.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"

#define ROOM 40
#define FIRST_SERIAL 0x10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("CPXD_PKCS11_SOCKET", "/nonexistent/pkcs11.sock", 1);
    return C_Initialize(NULL) == CKR_OK ? 0 : 1;
}

static void connect_to(int fd, int version)
{
    struct connection *connection = &library.calls;
    struct stat status;

    if (fstat(fd, &status) != 0)
        abort();
    connection->fd = fd;
    connection->device = status.st_dev;
    connection->inode = status.st_ino;
    connection->generation = 1;
    connection->version = version;
    connection->serial = FIRST_SERIAL;
}

/* Each value in memory of its own: a byte too many is seen. */
static void get_attributes(void)
{
    CK_ATTRIBUTE *inner = calloc(2, sizeof *inner);
    CK_ATTRIBUTE template[] = {
        {0x11, malloc(5), 5},                            /* CKA_VALUE */
        {0x00, malloc(sizeof(CK_ULONG)), sizeof(CK_ULONG)}, /* CKA_CLASS */
        {0x01, malloc(1), 1},                            /* CKA_TOKEN */
        {0x110, malloc(8), 8},                           /* CKA_START_DATE */
        {0x40000600, malloc(16), 16},                    /* CKA_ALLOWED_MECHANISMS */
        {0x40000211, inner, 2 * sizeof *inner},          /* CKA_WRAP_TEMPLATE */
        {0x102, NULL, 0},                                /* CKA_ID */
    };

    inner[0] = (CK_ATTRIBUTE){0, malloc(8), 8};
    inner[1] = (CK_ATTRIBUTE){0, malloc(3), 3};
    void *kept[] = {inner[0].pValue, inner[1].pValue};
    (void)C_GetAttributeValue(1, 1, template, 7);
    free(kept[0]);
    free(kept[1]);
    for (size_t i = 0; i < 6; i++)
        free(template[i].pValue);
}

static void get_bytes(void)
{
    CK_ULONG len = ROOM;
    CK_BYTE *out = malloc(ROOM);
    CK_BYTE in = 0;

    (void)C_Sign(1, &in, 1, out, &len);
    free(out);
}

static void get_list(CK_RV (*function)(CK_ULONG, CK_ULONG *, CK_ULONG *))
{
    CK_ULONG count = 3;
    CK_ULONG *list = malloc(3 * sizeof *list);

    (void)function(1, list, &count);
    free(list);
}

static CK_RV slot_list(CK_ULONG unused, CK_ULONG *list, CK_ULONG *count)
{
    return C_GetSlotList((CK_BBOOL)unused, list, count);
}

static CK_RV find(CK_ULONG session, CK_ULONG *list, CK_ULONG *count)
{
    return C_FindObjects(session, list, *count, count);
}

static void call(uint8_t which)
{
    CK_SLOT_INFO slot;
    CK_TOKEN_INFO token;
    CK_SESSION_INFO session;
    CK_MECHANISM_INFO mechanism_info;
    CK_MECHANISM mechanism = {0, NULL, 0};
    CK_ULONG first, second;
    CK_BYTE random[ROOM];

    switch (which % 12) {
    case 0:
        get_attributes();
        break;
    case 1:
        get_bytes();
        break;
    case 2:
        get_list(slot_list);
        break;
    case 3:
        get_list(C_GetMechanismList);
        break;
    case 4:
        get_list(find);
        break;
    case 5:
        (void)C_GetSlotInfo(1, &slot);
        break;
    case 6:
        (void)C_GetTokenInfo(1, &token);
        break;
    case 7:
        (void)C_GetSessionInfo(1, &session);
        break;
    case 8:
        (void)C_GetMechanismInfo(1, 1, &mechanism_info);
        break;
    case 9:
        (void)C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &first);
        break;
    case 10:
        (void)C_GenerateKeyPair(1, &mechanism, NULL, 0, NULL, 0, &first, &second);
        break;
    default:
        (void)C_GenerateRandom(1, random, sizeof random);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t header[FRAME_HEADER] = {0};
    int pair[2];

    if (size < 3 || size > 60000)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        abort();
    store_u32(header, FIRST_SERIAL);
    store_u32(header + 8, (uint32_t)(size - 3));
    if (data[2] % 2 == 0 && write(pair[1], header, sizeof header) != (ssize_t)sizeof header)
        abort();
    if (size > 3 && write(pair[1], data + 3, size - 3) != (ssize_t)(size - 3))
        abort();
    (void)shutdown(pair[1], SHUT_WR);
    connect_to(pair[0], data[0] % 3);
    call(data[1]);
    connection_close(&library.calls);
    (void)close(pair[1]);
    return 0;
}
