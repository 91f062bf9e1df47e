/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CPXD_LIBRARY_INFO_H
#define CPXD_LIBRARY_INFO_H

#include "pkcs11.h"

/* C_GetInfo of the 3.0 list. That of the 2.40 list reports 2.40, for hosts that refuse any other. */
CK_RV library_info_3_0(CK_INFO *info);

#endif
