/* SPDX-License-Identifier: Apache-2.0 */
#include "attribute.h"

#include <string.h>

#define COUNT_MAX 4096U       /* attributes of one template */
#define DEPTH_MAX 8           /* templates within templates */
#define UNKNOWN_TYPE 0xffffffffU /* stands in a query for a type that cannot be asked */
#define MECHANISMS_ROOM 4096U /* bytes asked for in any case: stock servers answer a mere size query wrongly */

enum kind { BYTES, BYTE, NUMBER, DATE, ATTRIBUTES, MECHANISMS };

struct range {
    CK_ATTRIBUTE_TYPE first, last;
    enum kind kind;
};

/* PKCS#11 3.0, appendix "Attributes"; the choice of types is the p11-kit protocol's. */
static const struct range KINDS[] = {
    {0x00000000, 0x00000000, NUMBER},     /* CKA_CLASS */
    {0x00000001, 0x00000002, BYTE},       /* TOKEN, PRIVATE */
    {0x00000080, 0x00000080, NUMBER},     /* CERTIFICATE_TYPE */
    {0x00000086, 0x00000086, BYTE},       /* TRUSTED */
    {0x00000087, 0x00000088, NUMBER},     /* CERTIFICATE_CATEGORY, JAVA_MIDP_SECURITY_DOMAIN */
    {0x00000100, 0x00000100, NUMBER},     /* KEY_TYPE */
    {0x00000103, 0x0000010c, BYTE},       /* SENSITIVE, ENCRYPT … DERIVE */
    {0x00000110, 0x00000111, DATE},       /* START_DATE, END_DATE */
    {0x00000121, 0x00000121, NUMBER},     /* MODULUS_BITS */
    {0x00000133, 0x00000134, NUMBER},     /* PRIME_BITS, SUBPRIME_BITS */
    {0x00000160, 0x00000161, NUMBER},     /* VALUE_BITS, VALUE_LEN */
    {0x00000162, 0x00000165, BYTE},       /* EXTRACTABLE, LOCAL, NEVER_EXTRACTABLE, ALWAYS_SENSITIVE */
    {0x00000166, 0x00000166, NUMBER},     /* KEY_GEN_MECHANISM */
    {0x00000170, 0x00000171, BYTE},       /* MODIFIABLE, COPYABLE */
    {0x00000200, 0x00000200, BYTE},       /* SECONDARY_AUTH */
    {0x00000201, 0x00000201, NUMBER},     /* AUTH_PIN_FLAGS */
    {0x00000202, 0x00000202, BYTE},       /* ALWAYS_AUTHENTICATE */
    {0x00000210, 0x00000210, BYTE},       /* WRAP_WITH_TRUSTED */
    {0x00000300, 0x00000300, NUMBER},     /* HW_FEATURE_TYPE */
    {0x00000301, 0x00000302, BYTE},       /* RESET_ON_INIT, HAS_RESET */
    {0x00000400, 0x00000404, NUMBER},     /* PIXEL_X … CHAR_COLUMNS */
    {0x00000405, 0x00000405, BYTE},       /* COLOR */
    {0x00000406, 0x00000406, NUMBER},     /* BITS_PER_PIXEL */
    {0x00000500, 0x00000500, NUMBER},     /* MECHANISM_TYPE */
    {0x40000211, 0x40000213, ATTRIBUTES}, /* WRAP_TEMPLATE, UNWRAP_TEMPLATE, DERIVE_TEMPLATE */
    {0x40000600, 0x40000600, MECHANISMS}, /* ALLOWED_MECHANISMS */
};

static enum kind kind_of(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
        if (type >= KINDS[i].first && type <= KINDS[i].last)
            return KINDS[i].kind;
    return BYTES;
}

/* An attribute or an element of a list may lie anywhere in the host's memory. */
static CK_ATTRIBUTE element(const void *list, size_t index)
{
    CK_ATTRIBUTE attribute;

    memcpy(&attribute, (const CK_BYTE *)list + index * sizeof attribute, sizeof attribute);
    return attribute;
}

static bool length_fits(enum kind kind, CK_ULONG len)
{
    switch (kind) {
    case BYTE:
        return len == 1;
    case NUMBER:
        return len == sizeof(CK_ULONG);
    case DATE:
        return len == 0 || len == 8;
    case ATTRIBUTES:
        return len % sizeof(CK_ATTRIBUTE) == 0;
    case MECHANISMS:
        return len <= REQUEST_MAX && len % sizeof(CK_MECHANISM_TYPE) == 0;
    case BYTES:
        break;
    }
    return len <= REQUEST_MAX;
}

static void put_number(struct buffer *buffer, const void *from)
{
    CK_ULONG number;

    memcpy(&number, from, sizeof number);
    buffer_put_u64(buffer, number);
}

static void put_template(struct buffer *buffer, const void *list, CK_ULONG count, int version, int depth);

static void put_value(struct buffer *buffer, enum kind kind, const CK_ATTRIBUTE *attribute, int version, int depth)
{
    const CK_BYTE *value = attribute->pValue;
    size_t count = attribute->ulValueLen / sizeof(CK_MECHANISM_TYPE);

    switch (kind) {
    case BYTE:
        buffer_put_u8(buffer, *value);
        break;
    case NUMBER:
        put_number(buffer, value);
        break;
    case ATTRIBUTES:
        put_template(buffer, value, attribute->ulValueLen / sizeof(CK_ATTRIBUTE), version, depth + 1);
        break;
    case MECHANISMS:
        buffer_put_u32(buffer, (uint32_t)count);
        for (size_t i = 0; i < count; i++)
            put_number(buffer, value + i * sizeof(CK_MECHANISM_TYPE));
        break;
    case DATE:
    case BYTES:
        buffer_put_bytes(buffer, value, attribute->ulValueLen);
        break;
    }
}

static void put_template(struct buffer *buffer, const void *list, CK_ULONG count, int version, int depth)
{
    if (count > COUNT_MAX || depth > DEPTH_MAX) {
        buffer_fail(buffer, CKR_ARGUMENTS_BAD);
        return;
    }
    buffer_put_u32(buffer, (uint32_t)count);
    for (size_t i = 0; i < count && buffer->failed == CKR_OK; i++) {
        CK_ATTRIBUTE attribute = element(list, i);
        enum kind kind = kind_of(attribute.type);

        if (attribute.pValue == NULL && attribute.ulValueLen != 0)
            buffer_fail(buffer, CKR_ARGUMENTS_BAD);
        else if (attribute.type > UINT32_MAX || (kind == ATTRIBUTES && version < 2 && attribute.ulValueLen != 0))
            buffer_fail(buffer, CKR_ATTRIBUTE_TYPE_INVALID);
        else if (!length_fits(kind, attribute.ulValueLen))
            buffer_fail(buffer, CKR_ATTRIBUTE_VALUE_INVALID);
        if (buffer->failed != CKR_OK)
            return;
        buffer_put_u32(buffer, (uint32_t)attribute.type);
        buffer_put_u8(buffer, 1);
        buffer_put_u32(buffer, (uint32_t)attribute.ulValueLen);
        put_value(buffer, kind, &attribute, version, depth);
    }
}

void attribute_put_template(struct buffer *buffer, const CK_ATTRIBUTE *attributes, CK_ULONG count, int version)
{
    if (attributes == NULL && count != 0)
        buffer_fail(buffer, CKR_ARGUMENTS_BAD);
    else
        put_template(buffer, attributes, count, version, 0);
}

static uint32_t room_for(enum kind kind, const CK_ATTRIBUTE *attribute)
{
    CK_ULONG room = attribute->pValue != NULL ? attribute->ulValueLen : 0;

    if (room > REQUEST_MAX)
        room = REQUEST_MAX;
    if (kind == MECHANISMS && room < MECHANISMS_ROOM)
        room = MECHANISMS_ROOM;
    return (uint32_t)room;
}

static void put_query(struct buffer *buffer, const void *list, CK_ULONG count, int version, int depth)
{
    if (count > COUNT_MAX || depth > DEPTH_MAX) {
        buffer_fail(buffer, CKR_ARGUMENTS_BAD);
        return;
    }
    buffer_put_u32(buffer, (uint32_t)count);
    for (size_t i = 0; i < count && buffer->failed == CKR_OK; i++) {
        CK_ATTRIBUTE attribute = element(list, i);
        enum kind kind = kind_of(attribute.type);
        bool list_within = kind == ATTRIBUTES && attribute.pValue != NULL;

        if (kind == ATTRIBUTES && version < 2) { /* a server that old would write through our lengths */
            attribute = (CK_ATTRIBUTE){.type = UNKNOWN_TYPE};
            list_within = false;
        }
        buffer_put_u32(buffer, attribute.type > UINT32_MAX ? UNKNOWN_TYPE : (uint32_t)attribute.type);
        buffer_put_u32(buffer, room_for(kind, &attribute));
        if (list_within)
            put_query(buffer, attribute.pValue, attribute.ulValueLen / sizeof(CK_ATTRIBUTE), version, depth + 1);
    }
}

void attribute_put_query(struct buffer *buffer, const CK_ATTRIBUTE *attributes, CK_ULONG count, int version)
{
    if (attributes == NULL)
        buffer_fail(buffer, CKR_ARGUMENTS_BAD);
    else
        put_query(buffer, attributes, count, version, 0);
}

/* `data` NULL: only the length was told. */
static void deliver(CK_ATTRIBUTE *attribute, const void *data, size_t len, CK_RV *rv)
{
    if (attribute->pValue == NULL) {
        attribute->ulValueLen = len;
    } else if (attribute->ulValueLen < len || (data == NULL && len != 0)) {
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        *rv = CKR_BUFFER_TOO_SMALL;
    } else {
        if (data != NULL)
            memcpy(attribute->pValue, data, len);
        attribute->ulValueLen = len;
    }
}

static void get_mechanisms(struct buffer *buffer, CK_ATTRIBUTE *attribute, CK_RV *rv)
{
    uint32_t count = buffer_get_u32(buffer);
    size_t len = count * sizeof(CK_MECHANISM_TYPE);
    size_t start = buffer->at;

    if (buffer_get_raw(buffer, (size_t)count * 8) == NULL)
        return;
    if (attribute->pValue == NULL || attribute->ulValueLen < len) {
        deliver(attribute, NULL, len, rv);
        return;
    }
    buffer->at = start;
    for (size_t i = 0; i < count; i++) {
        CK_MECHANISM_TYPE type = buffer_get_u64(buffer);

        memcpy((CK_BYTE *)attribute->pValue + i * sizeof type, &type, sizeof type);
    }
    attribute->ulValueLen = len;
}

static void get_attribute(struct buffer *buffer, CK_ATTRIBUTE *attribute, int depth, CK_RV *rv);

/* A list: into the caller's elements when they are enough, read over otherwise. `told` is its size in bytes, all
 * that a size query is sure to bring. */
static void get_list(struct buffer *buffer, CK_ATTRIBUTE *attribute, uint32_t told, int depth, CK_RV *rv)
{
    uint32_t count = buffer_get_u32(buffer);
    size_t len = count * sizeof(CK_ATTRIBUTE);
    bool wanted = attribute->pValue != NULL && attribute->ulValueLen >= len;

    if (count > COUNT_MAX || depth >= DEPTH_MAX)
        buffer_fail(buffer, CKR_DEVICE_ERROR);
    for (size_t i = 0; i < count && buffer->failed == CKR_OK; i++) {
        CK_ATTRIBUTE inner = wanted ? element(attribute->pValue, i) : (CK_ATTRIBUTE){0};

        get_attribute(buffer, &inner, depth + 1, rv);
        if (wanted)
            memcpy((CK_BYTE *)attribute->pValue + i * sizeof inner, &inner, sizeof inner);
    }
    if (wanted && (count != 0 || told == 0))
        attribute->ulValueLen = len;
    else
        deliver(attribute, NULL, count != 0 ? len : told, rv);
}

/* One attribute; its type is written into *attribute. */
static void get_attribute(struct buffer *buffer, CK_ATTRIBUTE *attribute, int depth, CK_RV *rv)
{
    uint32_t told;
    const uint8_t *bytes;
    size_t len;
    uint8_t byte;
    CK_ULONG number;

    attribute->type = buffer_get_u32(buffer);
    if (buffer_get_u8(buffer) == 0) {
        attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return;
    }
    told = buffer_get_u32(buffer);
    switch (kind_of(attribute->type)) {
    case BYTE:
        byte = buffer_get_u8(buffer);
        deliver(attribute, &byte, told == 0 ? 0 : 1, rv);
        break;
    case NUMBER:
        number = buffer_get_u64(buffer);
        deliver(attribute, &number, told == 0 ? 0 : sizeof number, rv);
        break;
    case ATTRIBUTES:
        get_list(buffer, attribute, told, depth, rv);
        break;
    case MECHANISMS:
        get_mechanisms(buffer, attribute, rv);
        break;
    case DATE:
    case BYTES:
        bytes = buffer_get_bytes(buffer, &len);
        deliver(attribute, bytes, bytes != NULL ? len : told, rv);
        break;
    }
}

CK_RV attribute_get_answer(struct buffer *buffer, CK_ATTRIBUTE *attributes, CK_ULONG count)
{
    CK_RV rv = CKR_OK;

    if (buffer_get_u32(buffer) != count)
        buffer_fail(buffer, CKR_DEVICE_ERROR);
    for (size_t i = 0; i < count && buffer->failed == CKR_OK; i++) {
        CK_ATTRIBUTE_TYPE asked = attributes[i].type;

        get_attribute(buffer, &attributes[i], 0, &rv);
        /* The same attributes in the same order, or the one that stood for a type not to be asked. */
        if (attributes[i].type != asked && attributes[i].type != UNKNOWN_TYPE)
            buffer_fail(buffer, CKR_DEVICE_ERROR);
        attributes[i].type = asked;
    }
    return rv;
}
