/* SPDX-License-Identifier: Apache-2.0
 *
 * The function lists and the interfaces over them (PKCS#11 3.0, 5.4): "PKCS 11" 3.0 and 2.40. Neither has
 * CKF_INTERFACE_FORK_SAFE: a child has to initialise for itself.
 */
#include <stdbool.h>
#include <string.h>

#include "library_info.h"

#define LISTED(name, arguments) .name = name,

#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides" /* of C_GetInfo, on purpose */
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

static CK_FUNCTION_LIST list_2_40 = {.version = {2, 40}, CK_FUNCTIONS_2_40(LISTED)};
static CK_FUNCTION_LIST_3_0 list_3_0 = {.version = {3, 0},
                                        CK_FUNCTIONS_2_40(LISTED) CK_FUNCTIONS_3_0(LISTED).C_GetInfo = library_info_3_0};

static CK_UTF8CHAR interface_name[] = "PKCS 11";

static CK_INTERFACE interfaces[] = {
    {interface_name, &list_3_0, 0},
    {interface_name, &list_2_40, 0},
};
#define INTERFACE_COUNT (sizeof interfaces / sizeof interfaces[0])

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = &list_2_40;
    return CKR_OK;
}

CK_RV C_GetInterfaceList(CK_INTERFACE *list, CK_ULONG *count)
{
    CK_RV rv = CKR_OK;

    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    if (list != NULL && *count < INTERFACE_COUNT)
        rv = CKR_BUFFER_TOO_SMALL;
    else if (list != NULL)
        memcpy(list, interfaces, sizeof interfaces);
    *count = INTERFACE_COUNT;
    return rv;
}

/* The list of 3.1 has the layout of 3.0; that of 3.2 is longer, and who asks for it would read past the end. */
static bool serves(const CK_INTERFACE *interface, const CK_VERSION *asked)
{
    CK_VERSION version;

    if (asked == NULL)
        return true;
    memcpy(&version, interface->pFunctionList, sizeof version);
    return version.major == asked->major &&
           (version.minor == asked->minor || (asked->major == 3 && asked->minor == 1));
}

CK_RV C_GetInterface(CK_UTF8CHAR *name, CK_VERSION *version, CK_INTERFACE **interface, CK_FLAGS flags)
{
    if (interface == NULL)
        return CKR_ARGUMENTS_BAD;
    if (name != NULL && strcmp((const char *)name, (const char *)interface_name) != 0)
        return CKR_ARGUMENTS_BAD;
    for (size_t i = 0; i < INTERFACE_COUNT; i++)
        if (serves(&interfaces[i], version) && (flags & ~interfaces[i].flags) == 0) {
            *interface = &interfaces[i];
            return CKR_OK;
        }
    return CKR_ARGUMENTS_BAD;
}
