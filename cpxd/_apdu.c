/* SPDX-License-Identifier: Apache-2.0 */
/* Commands, PIN commands and one raw exchange. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <winscard.h>

#include "_apdu.h"

enum { MASK = 0x2A, MAX_PIN_COMMAND = 5 + 255 };

static size_t put_short(const apdu_command *c, uint8_t *out)
{
    size_t at = 0;
    if (c->data_len > 0) {
        out[at++] = (uint8_t)c->data_len;
        memcpy(out + at, c->data, c->data_len);
        at += c->data_len;
    }
    if (c->le > 0)
        out[at++] = (uint8_t)c->le; /* 256 is written 00 */
    return at;
}

static size_t put_extended(const apdu_command *c, uint8_t *out)
{
    size_t at = 0;
    if (c->data_len > 0 || c->le > 0)
        out[at++] = 0x00;
    if (c->data_len > 0) {
        out[at++] = (uint8_t)(c->data_len >> 8);
        out[at++] = (uint8_t)c->data_len;
        memcpy(out + at, c->data, c->data_len);
        at += c->data_len;
    }
    if (c->le > 0) {
        out[at++] = (uint8_t)(c->le >> 8); /* 65,536 is written 0000 */
        out[at++] = (uint8_t)c->le;
    }
    return at;
}

int apdu_encode(const apdu_command *c, uint8_t *out, size_t cap, size_t *out_len)
{
    uint32_t max_data = c->extended ? APDU_MAX_DATA : 255;
    uint32_t max_le = c->extended ? APDU_MAX_LE : 256;

    if (c->data_len > max_data || c->le > max_le || (c->data_len > 0 && c->data == NULL))
        return APDU_E_ARGUMENT;
    if (cap < (size_t)4 + 3 + c->data_len + 2)
        return APDU_E_ARGUMENT;
    out[0] = c->cla;
    out[1] = c->ins;
    out[2] = c->p1;
    out[3] = c->p2;
    *out_len = 4 + (c->extended ? put_extended(c, out + 4) : put_short(c, out + 4));
    return APDU_OK;
}

apdu_channel *apdu_channel_new(void)
{
    apdu_channel *channel = calloc(1, sizeof *channel);
    if (channel != NULL) {
        atomic_flag_clear(&channel->busy);
        channel->max_le = 256;
    }
    return channel;
}

void apdu_channel_free(apdu_channel *channel)
{
    if (channel != NULL)
        explicit_bzero(channel, sizeof *channel);
    free(channel);
}

int64_t apdu_send_pcsc(apdu_channel *channel, const uint8_t *sent, size_t sent_len, uint8_t *received, size_t cap,
                       size_t *received_len)
{
    DWORD length = (DWORD)cap;
    LONG rc = SCardTransmit((SCARDHANDLE)channel->handle, channel->t0 ? SCARD_PCI_T0 : SCARD_PCI_T1, sent,
                            (DWORD)sent_len, NULL, received, &length);
    /* vpcd and others call it a success when the card was pulled in the middle of it */
    if (rc == SCARD_S_SUCCESS && length == 0)
        rc = SCARD_E_NOT_TRANSACTED;
    *received_len = rc == SCARD_S_SUCCESS ? (size_t)length : 0;
    return (int64_t)rc;
}

static double milliseconds_between(const struct timespec *from, const struct timespec *to)
{
    return 1e3 * (double)(to->tv_sec - from->tv_sec) + 1e-6 * (double)(to->tv_nsec - from->tv_nsec);
}

/* What an observer may see of a PIN command: the header, Lc and the status word. */
static void observe_masked(apdu_channel *channel, const uint8_t *tx, size_t tx_len, size_t rx_len, double elapsed)
{
    uint8_t shown[MAX_PIN_COMMAND];

    memcpy(shown, tx, 5);
    memset(shown + 5, MASK, tx_len - 5);
    if (rx_len > 2)
        memset(channel->rx, MASK, rx_len - 2); /* a card that echoes what it was sent */
    channel->observe(channel, shown, tx_len, channel->rx, rx_len, elapsed);
}

int apdu_send_once(apdu_channel *channel, const uint8_t *tx, size_t tx_len, bool pin, size_t *rx_len)
{
    struct timespec start;
    struct timespec end;
    size_t got = 0;
    int64_t code;
    double elapsed;

    clock_gettime(CLOCK_MONOTONIC, &start);
    code = channel->send(channel, tx, tx_len, channel->rx, sizeof channel->rx, &got);
    clock_gettime(CLOCK_MONOTONIC, &end);
    elapsed = milliseconds_between(&start, &end);
    channel->apdus++;
    channel->code = code;
    if (code != 0)
        got = 0;
    if (got > sizeof channel->rx)
        return APDU_E_RESPONSE;
    if (channel->observe != NULL && pin)
        observe_masked(channel, tx, tx_len, got, elapsed);
    else if (channel->observe != NULL)
        channel->observe(channel, tx, tx_len, channel->rx, got, elapsed);
    *rx_len = got;
    if (code != 0)
        return APDU_E_TRANSPORT;
    return got < 2 ? APDU_E_RESPONSE : APDU_OK;
}

static int put_pin_block(const apdu_pin_block *b, uint8_t *out)
{
    size_t len;

    if (b->minimum == 0 || b->minimum > b->maximum || b->maximum > b->stored_len || b->pad < -1 || b->pad > 0xFF)
        return APDU_E_ARGUMENT;
    if (b->secret == NULL || !apdu_secret_is_digits(b->secret, b->minimum, b->maximum))
        return APDU_E_PIN;
    len = apdu_secret_len(b->secret);
    if (b->pad == -1 && len != b->stored_len)
        return APDU_E_PIN;
    memset(out, b->pad, b->stored_len);
    memcpy(out, apdu_secret_bytes(b->secret), len);
    return APDU_OK;
}

static int build_pin_command(uint8_t *tx, const apdu_pin_block *blocks, size_t count, size_t *tx_len)
{
    size_t at = 5;

    if (count == 0)
        return APDU_E_ARGUMENT;
    for (size_t i = 0; i < count; i++) {
        int rc;
        if (blocks[i].stored_len > MAX_PIN_COMMAND - at)
            return APDU_E_ARGUMENT;
        rc = put_pin_block(&blocks[i], tx + at);
        if (rc != APDU_OK)
            return rc;
        at += blocks[i].stored_len;
    }
    tx[4] = (uint8_t)(at - 5);
    *tx_len = at;
    return APDU_OK;
}

int apdu_pin(apdu_channel *channel, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2, const apdu_pin_block *blocks,
             size_t count)
{
    uint8_t *tx = NULL;
    size_t tx_len = 0;
    size_t rx_len = 0;
    int rc;

    if (atomic_flag_test_and_set(&channel->busy))
        return APDU_E_BUSY;
    channel->out_len = 0;
    channel->sw = 0;
    rc = APDU_E_MEMORY;
    tx = apdu_locked_new(MAX_PIN_COMMAND);
    if (tx == NULL)
        goto done;
    tx[0] = cla;
    tx[1] = ins;
    tx[2] = p1;
    tx[3] = p2;
    rc = build_pin_command(tx, blocks, count, &tx_len);
    if (rc != APDU_OK)
        goto done;
    rc = apdu_send_once(channel, tx, tx_len, true, &rx_len);
    if (rc != APDU_OK)
        goto done;
    channel->sw = (uint16_t)(channel->rx[rx_len - 2] << 8 | channel->rx[rx_len - 1]);
    if (rx_len != 2)
        rc = APDU_E_RESPONSE; /* no PIN command answers data */
done:
    apdu_locked_free(tx, MAX_PIN_COMMAND);
    explicit_bzero(channel->rx, sizeof channel->rx);
    atomic_flag_clear(&channel->busy);
    return rc;
}
