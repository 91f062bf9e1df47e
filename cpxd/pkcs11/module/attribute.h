/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes on the wire. How a value travels depends on its type: one byte, a u64, a date, a list of attributes or
 * of mechanisms; everything else, unknown types included, as plain bytes.
 */
#ifndef CPXD_ATTRIBUTE_H
#define CPXD_ATTRIBUTE_H

#include "buffer.h"

/* A template the caller fills: types and values. `version` is the protocol's: before 2, lists of attributes cannot
 * be carried. Failures (CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD) are the
 * buffer's. */
void attribute_put_template(struct buffer *buffer, const CK_ATTRIBUTE *attributes, CK_ULONG count, int version);

/* C_GetAttributeValue: types and room for the values. */
void attribute_put_query(struct buffer *buffer, const CK_ATTRIBUTE *attributes, CK_ULONG count, int version);

/* Its answer into the caller's template. CKR_OK or CKR_BUFFER_TOO_SMALL: some value did not fit (its length is then
 * CK_UNAVAILABLE_INFORMATION). A malformed answer is the buffer's failure. */
CK_RV attribute_get_answer(struct buffer *buffer, CK_ATTRIBUTE *attributes, CK_ULONG count);

#endif
