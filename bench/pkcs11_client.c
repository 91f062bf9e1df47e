// SPDX-License-Identifier: Apache-2.0
// A PKCS#11 application for measurements. Usage: pkcs11_client MODULE; a command a line on stdin, an answer a line on stdout:
// "ok MICROSECONDS" (the median, when a call is repeated) or "error CK_RV".
//   initialize | token | open | certificates | login PIN | key HEX-ID | sign pkcs1|pss | close | finalize
//   token-info N | session-info N       the call, N times
//   echo PATH N                         N round trips of one request through a unix socket, no module in it
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "pkcs11.h"

#define MOST_ROUNDS 100000UL
#define ECHO_BYTES 34U // of a request of C_GetSessionInfo: head 12, options 5, body 17
#define FAILED 0xFFFFUL

// What the module's own header has no need of (PKCS#11 2.40)
typedef CK_ULONG CK_OBJECT_CLASS;
typedef CK_RV (*get_function_list)(CK_FUNCTION_LIST **list);
static const CK_RV TOKEN_NOT_PRESENT = 0xE0;
static const CK_OBJECT_CLASS CERTIFICATE = 1, PRIVATE_KEY = 3;
static const CK_ULONG CLASS = 0, VALUE = 0x11, ID = 0x102; // CKA_
static const CK_ULONG RSA_PKCS = 0x01, RSA_PKCS_PSS = 0x0D, SHA256 = 0x250; // CKM_
static const CK_ULONG MGF1_SHA256 = 2, USER = 1;

struct client {
    CK_FUNCTION_LIST *call;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    double *times;
};

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static int order(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *times, unsigned long count) {
    qsort(times, count, sizeof *times, order);
    return times[count / 2];
}

static CK_RV find_token(struct client *client) {
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;
    CK_RV rv = client->call->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv == CKR_OK && count == 0) return TOKEN_NOT_PRESENT;
    client->slot = slots[0];
    return rv;
}

// All certificates and their values, as a browser reads them.
static CK_RV certificates(struct client *client) {
    CK_OBJECT_CLASS class = CERTIFICATE;
    CK_ATTRIBUTE template = {CLASS, &class, sizeof class};
    CK_OBJECT_HANDLE found[16];
    CK_ULONG count = 0;
    CK_RV rv = client->call->C_FindObjectsInit(client->session, &template, 1);
    if (rv != CKR_OK) return rv;
    rv = client->call->C_FindObjects(client->session, found, 16, &count);
    (void)client->call->C_FindObjectsFinal(client->session);
    for (CK_ULONG index = 0; rv == CKR_OK && index < count; index++) {
        unsigned char value[8192];
        CK_ATTRIBUTE wanted = {VALUE, value, sizeof value};
        rv = client->call->C_GetAttributeValue(client->session, found[index], &wanted, 1);
    }
    return rv == CKR_OK && count == 0 ? FAILED : rv;
}

static CK_RV find_key(struct client *client, const char *hex) {
    unsigned char id[64];
    size_t length = strlen(hex) / 2;
    CK_OBJECT_CLASS class = PRIVATE_KEY;
    CK_ATTRIBUTE template[2] = {{CLASS, &class, sizeof class}, {ID, id, length}};
    CK_ULONG count = 0;
    if (length > sizeof id) return CKR_ARGUMENTS_BAD;
    for (size_t index = 0; index < length; index++) {
        unsigned int byte = 0;
        if (sscanf(hex + 2 * index, "%2x", &byte) != 1) return CKR_ARGUMENTS_BAD;
        id[index] = (unsigned char)byte;
    }
    CK_RV rv = client->call->C_FindObjectsInit(client->session, template, 2);
    if (rv != CKR_OK) return rv;
    rv = client->call->C_FindObjects(client->session, &client->key, 1, &count);
    (void)client->call->C_FindObjectsFinal(client->session);
    return rv == CKR_OK && count != 1 ? FAILED : rv;
}

static CK_RV sign(struct client *client, const char *how) {
    static const unsigned char prefix[19] = {0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                             0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    CK_RSA_PKCS_PSS_PARAMS salted = {SHA256, MGF1_SHA256, 32};
    int pss = strcmp(how, "pss") == 0;
    CK_MECHANISM mechanism = {pss ? RSA_PKCS_PSS : RSA_PKCS, pss ? &salted : NULL, pss ? sizeof salted : 0};
    unsigned char data[sizeof prefix + 32] = {0}, signature[512];
    CK_ULONG length = sizeof signature;
    memcpy(data, prefix, sizeof prefix);
    CK_RV rv = client->call->C_SignInit(client->session, &mechanism, client->key);
    if (rv != CKR_OK) return rv;
    return client->call->C_Sign(client->session, pss ? data + sizeof prefix : data, pss ? 32 : sizeof data, signature, &length);
}

static CK_RV repeat(struct client *client, int of_session, unsigned long rounds) {
    CK_RV rv = CKR_OK;
    for (unsigned long round = 0; rv == CKR_OK && round < rounds; round++) {
        double begin = now();
        if (of_session) {
            CK_SESSION_INFO about;
            rv = client->call->C_GetSessionInfo(client->session, &about);
        } else {
            CK_TOKEN_INFO about;
            rv = client->call->C_GetTokenInfo(client->slot, &about);
        }
        client->times[round] = now() - begin;
    }
    return rv;
}

static CK_RV echo(struct client *client, const char *path, unsigned long rounds) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unsigned char request[ECHO_BYTES] = {0}, answer[ECHO_BYTES];
    CK_RV rv = FAILED;
    int stream = socket(AF_UNIX, SOCK_STREAM, 0);
    if (stream < 0 || strlen(path) >= sizeof address.sun_path) goto done;
    memcpy(address.sun_path, path, strlen(path));
    if (connect(stream, (const struct sockaddr *)&address, sizeof address) != 0) goto done;
    for (unsigned long round = 0; round < rounds; round++) {
        double begin = now();
        if (send(stream, request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request) goto done;
        if (recv(stream, answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer) goto done;
        client->times[round] = now() - begin;
    }
    rv = CKR_OK;
done:
    if (stream >= 0) close(stream);
    return rv;
}

static CK_RV obey(struct client *client, const char *verb, char *first, unsigned long rounds) {
    CK_FUNCTION_LIST *call = client->call;
    if (strcmp(verb, "initialize") == 0) return call->C_Initialize(NULL);
    if (strcmp(verb, "finalize") == 0) return call->C_Finalize(NULL);
    if (strcmp(verb, "token") == 0) return find_token(client);
    if (strcmp(verb, "open") == 0) return call->C_OpenSession(client->slot, CKF_SERIAL_SESSION, NULL, NULL, &client->session);
    if (strcmp(verb, "close") == 0) return call->C_CloseSession(client->session);
    if (strcmp(verb, "certificates") == 0) return certificates(client);
    if (strcmp(verb, "login") == 0) return call->C_Login(client->session, USER, (unsigned char *)first, strlen(first));
    if (strcmp(verb, "key") == 0) return find_key(client, first);
    if (strcmp(verb, "sign") == 0) return sign(client, first);
    if (strcmp(verb, "echo") == 0) return echo(client, first, rounds);
    if (strcmp(verb, "token-info") == 0) return repeat(client, 0, rounds);
    if (strcmp(verb, "session-info") == 0) return repeat(client, 1, rounds);
    return FAILED;
}

static unsigned long rounds_of(const char *verb, const char *first, const char *second) {
    const char *text = strcmp(verb, "echo") == 0 ? second : strstr(verb, "-info") != NULL ? first : "0";
    unsigned long rounds = strtoul(text, NULL, 10);
    return rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS;
}

int main(int count, char **words) {
    struct client client = {0};
    char line[512];
    if (count != 2) return 2;
    void *module = dlopen(words[1], RTLD_NOW);
    if (module == NULL) return 1;
    get_function_list get;
    void *symbol = dlsym(module, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get); // a function out of a void *: what ISO C has no cast for
    client.times = calloc(MOST_ROUNDS, sizeof *client.times);
    if (get == NULL || get(&client.call) != CKR_OK || client.times == NULL) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        char verb[32] = "", first[256] = "", second[32] = "";
        if (sscanf(line, "%31s %255s %31s", verb, first, second) < 1) continue;
        unsigned long rounds = rounds_of(verb, first, second);
        double begin = now();
        CK_RV rv = obey(&client, verb, first, rounds);
        double spent = now() - begin;
        if (rv == CKR_OK)
            printf("ok %.1f\n", rounds != 0 ? median(client.times, rounds) : spent);
        else
            printf("error 0x%lx\n", rv);
    }
    free(client.times);
    return 0;
}
