/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as BER-TLV: nothing outside is read (ASan), and what is read obeys the rules below. */

#include <stdlib.h>
#include <string.h>

#include "_apdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The header is written as it was read, or shorter. */
static void check_header(const apdu_tlv *item, size_t written)
{
    uint8_t header[9];
    size_t length = 0;

    require(apdu_tlv_header(item->tag, item->length, header, sizeof header, &length) == APDU_OK);
    require(length <= written);
}

static void read_level(const uint8_t *data, size_t size, bool padding)
{
    apdu_tlv item;
    size_t pos = 0;
    size_t before = 0;
    int rc;

    while ((rc = apdu_tlv_next(data, size, &pos, padding, &item)) == 1) {
        require(pos > before && pos <= size);
        require(item.value + item.length == pos && item.value > before);
        check_header(&item, item.value - before);
        before = pos;
    }
    require(rc == 0 || rc == APDU_E_TLV);
    require(rc != 0 || pos == size);
    require(rc == 0 || apdu_tlv_check(data, size, padding) == APDU_E_TLV);
}

static void follow_path(const uint8_t *data, size_t size, bool padding)
{
    static const uint32_t known[4][4] = {{0x70, 0xBF8101, 0xA0, 0x9B}, {0x61, 0x4F, 0, 0}, {0x62, 0x82, 0, 0}, {0x30, 0x30, 0x04, 0}};
    static const size_t counts[4] = {4, 2, 2, 3};

    for (size_t i = 0; i < 4; i++) {
        apdu_tlv item;
        int rc = apdu_tlv_find(data, size, known[i], counts[i], padding, &item);
        require(rc == APDU_OK || rc == APDU_E_ABSENT || rc == APDU_E_TLV);
        if (rc != APDU_OK)
            continue;
        require(item.tag == known[i][counts[i] - 1]);
        require(item.value <= size && item.length <= size - item.value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1); /* its end is where ASan looks */

    require(exact != NULL);
    memcpy(exact, data, size);
    for (int padding = 0; padding < 2; padding++) {
        read_level(exact, size, padding);
        follow_path(exact, size, padding);
        (void)apdu_tlv_check(exact, size, padding);
    }
    free(exact);
    return 0;
}
