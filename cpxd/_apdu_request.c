/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the PKCS#11 socket that carry secrets: parsed here, so that no secret leaves the C code. */

#include <string.h>

#include "_apdu.h"

static const uint32_t NO_BYTES = 0xFFFFFFFF; /* a length that stands for NULL */

/* What is left to read. Once something was missing, `failed` stays and everything reads as zero. */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static const uint8_t *take(struct cursor *cursor, size_t len)
{
    const uint8_t *start = cursor->at;

    if (cursor->failed || len > cursor->left) {
        cursor->failed = true;
        return NULL;
    }
    cursor->at += len;
    cursor->left -= len;
    return start;
}

static uint64_t number(struct cursor *cursor, size_t len)
{
    const uint8_t *bytes = take(cursor, len);
    uint64_t value = 0;

    for (size_t i = 0; bytes != NULL && i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void skip_string(struct cursor *cursor)
{
    uint32_t len = (uint32_t)number(cursor, 4);

    if (len != NO_BYTES)
        (void)take(cursor, len);
}

/* u8 whether there are bytes; then u32 length and the bytes, or u32 length alone. */
static int read_secret(struct cursor *cursor, apdu_secret *secret)
{
    bool valid = number(cursor, 1) != 0;
    uint32_t len = (uint32_t)number(cursor, 4);
    const uint8_t *bytes = valid && len != NO_BYTES ? take(cursor, len) : NULL;

    return bytes == NULL ? APDU_E_ABSENT : apdu_secret_set(secret, bytes, len);
}

static bool read_value(struct cursor *cursor, const char **signature, apdu_request *request,
                       apdu_secret *const secrets[APDU_REQUEST_SECRETS])
{
    size_t nth = request->secret_count;

    switch (*(*signature)++) {
    case 'u':
        if (request->value_count == APDU_REQUEST_VALUES)
            return false;
        request->values[request->value_count++] = number(cursor, 8);
        return true;
    case 'a':
        if (*(*signature)++ != 'y' || nth == APDU_REQUEST_SECRETS)
            return false;
        request->secrets[nth] = read_secret(cursor, secrets[nth]);
        request->secret_count++;
        return true;
    case 'z':
    case 's':
        skip_string(cursor);
        return true;
    default:
        return false;
    }
}

int apdu_request_read(const uint8_t *body, size_t len, uint32_t call, const char *signature, apdu_request *request,
                      apdu_secret *const secrets[APDU_REQUEST_SECRETS])
{
    struct cursor cursor = {body, len, false};
    size_t expected = strlen(signature);
    const uint8_t *said;
    bool known = true;

    memset(request, 0, sizeof *request);
    if (number(&cursor, 4) != call || number(&cursor, 4) != expected)
        return APDU_E_ARGUMENT;
    said = take(&cursor, expected);
    if (said == NULL || memcmp(said, signature, expected) != 0)
        return APDU_E_ARGUMENT;
    while (known && *signature != '\0')
        known = read_value(&cursor, &signature, request, secrets);
    return known && !cursor.failed && cursor.left == 0 ? APDU_OK : APDU_E_ARGUMENT;
}
