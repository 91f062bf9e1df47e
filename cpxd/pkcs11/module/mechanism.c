/* SPDX-License-Identifier: Apache-2.0 */
#include "mechanism.h"

#include <string.h>

#define CANCEL 0xffffffffU

enum parameter {
    UNKNOWN,  /* a parameter is refused: it may hold pointers */
    POINTERS, /* a parameter is needed, and holds pointers or handles: the mechanism is not offered */
    NEVER,   /* none: what a caller left in the structure is not looked at */
    FLAT,    /* bytes: an initialisation vector, a public value */
    NUMBER,  /* CK_MAC_GENERAL_PARAMS */
    COUNTER, /* CK_AES_CTR_PARAMS */
    PSS,     /* CK_RSA_PKCS_PSS_PARAMS */
    OAEP     /* CK_RSA_PKCS_OAEP_PARAMS */
};

struct range {
    CK_MECHANISM_TYPE first, last;
    enum parameter parameter;
};

/* PKCS#11 3.0 "Current mechanisms" and 2.40 "Historical mechanisms"; which of them are NEVER is the protocol's. */
static const struct range PARAMETERS[] = {
    {0x0000, 0x0008, NEVER},   /* RSA_PKCS_KEY_PAIR_GEN, RSA_PKCS … RIPEMD160_RSA_PKCS */
    {0x0009, 0x0009, OAEP},    /* RSA_PKCS_OAEP */
    {0x000a, 0x000c, NEVER},   /* RSA_X9_31… */
    {0x000d, 0x000e, PSS},     /* RSA_PKCS_PSS, SHA1_RSA_PKCS_PSS */
    {0x0010, 0x0012, NEVER},   /* DSA_KEY_PAIR_GEN, DSA, DSA_SHA1 */
    {0x0020, 0x0020, NEVER},   /* DH_PKCS_KEY_PAIR_GEN */
    {0x0021, 0x0021, FLAT},    /* DH_PKCS_DERIVE */
    {0x0030, 0x0030, NEVER},   /* X9_42_DH_KEY_PAIR_GEN */
    {0x0040, 0x0042, NEVER},   /* SHA256, SHA384, SHA512_RSA_PKCS */
    {0x0043, 0x0045, PSS},     /* SHA256, SHA384, SHA512_RSA_PKCS_PSS */
    {0x0046, 0x0046, NEVER},   /* SHA224_RSA_PKCS */
    {0x0047, 0x0047, PSS},     /* SHA224_RSA_PKCS_PSS */
    {0x0048, 0x0049, NEVER},   /* SHA512_224, _HMAC */
    {0x004a, 0x004a, NUMBER},  /* SHA512_224_HMAC_GENERAL */
    {0x004b, 0x004d, NEVER},   /* SHA512_224_KEY_DERIVATION, SHA512_256, _HMAC */
    {0x004e, 0x004e, NUMBER},  /* SHA512_256_HMAC_GENERAL */
    {0x004f, 0x0051, NEVER},   /* SHA512_256_KEY_DERIVATION, SHA512_T, _HMAC */
    {0x0053, 0x0053, NEVER},   /* SHA512_T_KEY_DERIVATION */
    {0x0100, 0x0101, NEVER},   /* RC2_KEY_GEN, RC2_ECB */
    {0x0103, 0x0103, NEVER},   /* RC2_MAC */
    {0x0110, 0x0111, NEVER},   /* RC4_KEY_GEN, RC4 */
    {0x0120, 0x0121, NEVER},   /* DES_KEY_GEN, DES_ECB */
    {0x0122, 0x0122, FLAT},    /* DES_CBC */
    {0x0123, 0x0123, NEVER},   /* DES_MAC */
    {0x0125, 0x0125, FLAT},    /* DES_CBC_PAD */
    {0x0130, 0x0132, NEVER},   /* DES2_KEY_GEN, DES3_KEY_GEN, DES3_ECB */
    {0x0133, 0x0133, FLAT},    /* DES3_CBC */
    {0x0134, 0x0134, NEVER},   /* DES3_MAC */
    {0x0135, 0x0135, NUMBER},  /* DES3_MAC_GENERAL */
    {0x0136, 0x0136, FLAT},    /* DES3_CBC_PAD */
    {0x0137, 0x0137, NUMBER},  /* DES3_CMAC_GENERAL */
    {0x0138, 0x0138, NEVER},   /* DES3_CMAC */
    {0x0140, 0x0141, NEVER},   /* CDMF_KEY_GEN, CDMF_ECB */
    {0x0143, 0x0143, NEVER},   /* CDMF_MAC */
    {0x0150, 0x0153, FLAT},    /* DES_OFB64 … DES_CFB8 */
    {0x0200, 0x0201, NEVER},   /* MD2, _HMAC */
    {0x0210, 0x0211, NEVER},   /* MD5, _HMAC */
    {0x0220, 0x0221, NEVER},   /* SHA_1, _HMAC */
    {0x0222, 0x0222, NUMBER},  /* SHA_1_HMAC_GENERAL */
    {0x0230, 0x0231, NEVER},   /* RIPEMD128, _HMAC */
    {0x0240, 0x0241, NEVER},   /* RIPEMD160, _HMAC */
    {0x0250, 0x0251, NEVER},   /* SHA256, _HMAC */
    {0x0252, 0x0252, NUMBER},  /* SHA256_HMAC_GENERAL */
    {0x0255, 0x0256, NEVER},   /* SHA224, _HMAC */
    {0x0257, 0x0257, NUMBER},  /* SHA224_HMAC_GENERAL */
    {0x0260, 0x0261, NEVER},   /* SHA384, _HMAC */
    {0x0262, 0x0262, NUMBER},  /* SHA384_HMAC_GENERAL */
    {0x0270, 0x0271, NEVER},   /* SHA512, _HMAC */
    {0x0272, 0x0272, NUMBER},  /* SHA512_HMAC_GENERAL */
    {0x0300, 0x0301, NEVER},   /* CAST_KEY_GEN, CAST_ECB */
    {0x0303, 0x0303, NEVER},   /* CAST_MAC */
    {0x0310, 0x0311, NEVER},   /* CAST3_KEY_GEN, CAST3_ECB */
    {0x0313, 0x0313, NEVER},   /* CAST3_MAC */
    {0x0320, 0x0321, NEVER},   /* CAST128_KEY_GEN, CAST128_ECB */
    {0x0330, 0x0331, NEVER},   /* RC5_KEY_GEN, RC5_ECB */
    {0x0333, 0x0333, NEVER},   /* RC5_MAC */
    {0x0340, 0x0341, NEVER},   /* IDEA_KEY_GEN, IDEA_ECB */
    {0x0343, 0x0343, NEVER},   /* IDEA_MAC */
    {0x0350, 0x0350, NEVER},   /* GENERIC_SECRET_KEY_GEN */
    {0x0360, 0x0365, POINTERS}, /* CONCATENATE_… */
    {0x0370, 0x0370, NEVER},   /* SSL3_PRE_MASTER_KEY_GEN */
    {0x0374, 0x0374, NEVER},   /* TLS_PRE_MASTER_KEY_GEN */
    {0x0380, 0x0381, NEVER},   /* SSL3_MD5_MAC, SSL3_SHA1_MAC */
    {0x0392, 0x0396, NEVER},   /* SHA1 … SHA224_KEY_DERIVATION */
    {0x0400, 0x0400, NEVER},   /* KEY_WRAP_LYNKS */
    {0x1000, 0x1000, NEVER},   /* SKIPJACK_KEY_GEN */
    {0x1008, 0x1008, NEVER},   /* SKIPJACK_WRAP */
    {0x1010, 0x1010, NEVER},   /* KEA_KEY_PAIR_GEN */
    {0x1020, 0x1020, NEVER},   /* FORTEZZA_TIMESTAMP */
    {0x1030, 0x1030, NEVER},   /* BATON_KEY_GEN */
    {0x1036, 0x1036, NEVER},   /* BATON_WRAP */
    {0x1040, 0x1046, NEVER},   /* EC_KEY_PAIR_GEN, ECDSA … ECDSA_SHA512 */
    {0x1050, 0x1054, POINTERS}, /* ECDH1_DERIVE … RSA_AES_KEY_WRAP */
    {0x1055, 0x1055, NEVER},   /* EC_EDWARDS_KEY_PAIR_GEN */
    {0x1060, 0x1060, NEVER},   /* JUNIPER_KEY_GEN */
    {0x1065, 0x1065, NEVER},   /* JUNIPER_WRAP */
    {0x1070, 0x1070, NEVER},   /* FASTHASH */
    {0x1080, 0x1081, NEVER},   /* AES_KEY_GEN, AES_ECB */
    {0x1082, 0x1082, FLAT},    /* AES_CBC */
    {0x1083, 0x1083, NEVER},   /* AES_MAC */
    {0x1084, 0x1084, NUMBER},  /* AES_MAC_GENERAL */
    {0x1085, 0x1085, FLAT},    /* AES_CBC_PAD */
    {0x1086, 0x1086, COUNTER}, /* AES_CTR */
    {0x1087, 0x1088, POINTERS}, /* AES_GCM, AES_CCM */
    {0x1089, 0x1089, FLAT},    /* AES_CTS */
    {0x108a, 0x108a, NEVER},   /* AES_CMAC */
    {0x108b, 0x108b, NUMBER},  /* AES_CMAC_GENERAL */
    {0x1100, 0x1105, POINTERS}, /* …_ENCRYPT_DATA */
    {0x2000, 0x2002, NEVER},   /* DSA_, DH_PKCS_, X9_42_DH_PARAMETER_GEN */
    {0x2104, 0x2108, FLAT},    /* AES_OFB … AES_CFB1 */
    {0x2109, 0x210a, FLAT},    /* AES_KEY_WRAP, AES_KEY_WRAP_PAD */
};

static enum parameter parameter_of(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < sizeof PARAMETERS / sizeof PARAMETERS[0]; i++)
        if (type >= PARAMETERS[i].first && type <= PARAMETERS[i].last)
            return PARAMETERS[i].parameter;
    return UNKNOWN;
}

static CK_ULONG size_of(enum parameter parameter)
{
    switch (parameter) {
    case NUMBER:
        return sizeof(CK_ULONG);
    case COUNTER:
        return sizeof(CK_AES_CTR_PARAMS);
    case PSS:
        return sizeof(CK_RSA_PKCS_PSS_PARAMS);
    case OAEP:
        return sizeof(CK_RSA_PKCS_OAEP_PARAMS);
    case UNKNOWN:
    case POINTERS:
    case NEVER:
    case FLAT:
        break;
    }
    return 0;
}

static void put_number(struct buffer *buffer, const void *from)
{
    CK_ULONG number;

    memcpy(&number, from, sizeof number);
    buffer_put_u64(buffer, number);
}

static void put_counter(struct buffer *buffer, const void *from)
{
    CK_AES_CTR_PARAMS counter;

    memcpy(&counter, from, sizeof counter);
    buffer_put_u64(buffer, counter.ulCounterBits);
    buffer_put_bytes(buffer, counter.cb, sizeof counter.cb);
}

static void put_pss(struct buffer *buffer, const void *from)
{
    CK_RSA_PKCS_PSS_PARAMS pss;

    memcpy(&pss, from, sizeof pss);
    buffer_put_u64(buffer, pss.hashAlg);
    buffer_put_u64(buffer, pss.mgf);
    buffer_put_u64(buffer, pss.sLen);
}

static void put_oaep(struct buffer *buffer, const void *from)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep;

    memcpy(&oaep, from, sizeof oaep);
    if (oaep.pSourceData == NULL && oaep.ulSourceDataLen != 0)
        buffer_fail(buffer, CKR_MECHANISM_PARAM_INVALID);
    buffer_put_u64(buffer, oaep.hashAlg);
    buffer_put_u64(buffer, oaep.mgf);
    buffer_put_u64(buffer, oaep.source);
    buffer_put_bytes(buffer, oaep.pSourceData, oaep.ulSourceDataLen);
}

/* Servers of version 0 know the shape of two parameters only, and take the others as the bytes of the structure. */
static enum parameter in_version(enum parameter parameter, CK_MECHANISM_TYPE type, int version)
{
    const CK_MECHANISM_TYPE rsa_pkcs_pss = 0x000d;

    if (version == 0 && (parameter == NUMBER || parameter == COUNTER || (parameter == PSS && type != rsa_pkcs_pss)))
        return FLAT;
    return parameter;
}

static void put_parameter(struct buffer *buffer, const CK_MECHANISM *mechanism, enum parameter parameter)
{
    switch (parameter) {
    case NUMBER:
        put_number(buffer, mechanism->pParameter);
        break;
    case COUNTER:
        put_counter(buffer, mechanism->pParameter);
        break;
    case PSS:
        put_pss(buffer, mechanism->pParameter);
        break;
    case OAEP:
        put_oaep(buffer, mechanism->pParameter);
        break;
    case FLAT:
        buffer_put_bytes(buffer, mechanism->pParameter, mechanism->ulParameterLen);
        break;
    case UNKNOWN:
    case POINTERS:
    case NEVER:
        break;
    }
}

bool mechanism_is_carried(CK_MECHANISM_TYPE type)
{
    return parameter_of(type) != POINTERS;
}

void mechanism_put(struct buffer *buffer, const CK_MECHANISM *mechanism, int version)
{
    enum parameter parameter = parameter_of(mechanism->mechanism);
    bool present = parameter != NEVER && mechanism->ulParameterLen != 0;
    CK_ULONG size = size_of(parameter);

    if (mechanism->mechanism > UINT32_MAX || parameter == POINTERS || (present && parameter == UNKNOWN))
        buffer_fail(buffer, CKR_MECHANISM_INVALID);
    else if ((present && mechanism->pParameter == NULL) || (present && size != 0 && mechanism->ulParameterLen != size))
        buffer_fail(buffer, CKR_MECHANISM_PARAM_INVALID);
    parameter = in_version(parameter, mechanism->mechanism, version);
    if (version < 2 && !present && size_of(parameter) != 0) /* no way to write that it is absent */
        buffer_fail(buffer, CKR_MECHANISM_PARAM_INVALID);
    buffer_put_u32(buffer, (uint32_t)mechanism->mechanism);
    if (version >= 2 && parameter != NEVER)
        buffer_put_u8(buffer, present);
    if (buffer->failed == CKR_OK && present)
        put_parameter(buffer, mechanism, parameter);
    else if (version < 2)
        buffer_put_bytes(buffer, NULL, 0);
}

void mechanism_put_cancel(struct buffer *buffer)
{
    buffer_put_u32(buffer, CANCEL);
}
