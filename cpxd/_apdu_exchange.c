/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange loop: chaining, GET RESPONSE and the one repeat after 6Cxx (ISO/IEC 7816-3 12.2, 7816-4 5.1, 5.3). */

#include <string.h>

#include "_apdu.h"

enum { CHAINING = 0x10, CLASS_CPS2TER = 0xA0, GET_RESPONSE = 0xC0 };

static bool carries_pin(const apdu_command *c)
{
    return c->data_len > 0 && (c->ins == 0x20 || c->ins == 0x24 || c->ins == 0x2C);
}

/* Sends `wire` and puts what it answers behind what is already in channel->out. */
static int round_trip(apdu_channel *channel, const apdu_command *wire, size_t *body)
{
    size_t tx_len = 0;
    size_t rx_len = 0;
    int rc = apdu_encode(wire, channel->tx, sizeof channel->tx, &tx_len);

    if (rc != APDU_OK)
        return rc;
    if (wire->ins == GET_RESPONSE)
        channel->get_responses++;
    rc = apdu_send_once(channel, channel->tx, tx_len, false, &rx_len);
    if (rc != APDU_OK)
        return rc;
    *body = rx_len - 2;
    if (wire->le > 0 && *body > wire->le)
        return APDU_E_RESPONSE;
    if (*body > sizeof channel->out - channel->out_len)
        return APDU_E_LIMIT;
    memcpy(channel->out + channel->out_len, channel->rx, *body);
    channel->out_len += *body;
    channel->sw = (uint16_t)(channel->rx[rx_len - 2] << 8 | channel->rx[rx_len - 1]);
    return APDU_OK;
}

/* All blocks but the last; *left is what remains to be sent. A refused block ends the chain: sw is then not 9000. */
static int send_chain(apdu_channel *channel, const apdu_command *command, apdu_command *left)
{
    apdu_command wire = *command;

    wire.cla |= CHAINING;
    wire.le = 0;
    wire.data_len = command->block;
    while (left->data_len > command->block) {
        size_t body = 0;
        int rc;
        wire.data = left->data;
        rc = round_trip(channel, &wire, &body);
        if (rc != APDU_OK)
            return rc;
        if (channel->sw != 0x9000)
            return APDU_OK;
        if (body > 0)
            return APDU_E_RESPONSE;
        left->data += command->block;
        left->data_len -= command->block;
    }
    return APDU_OK;
}

static uint32_t length_in(uint16_t sw)
{
    return (sw & 0xFF) == 0 ? 256 : (uint32_t)(sw & 0xFF);
}

static bool has_more(uint16_t sw, uint8_t cla)
{
    return sw >> 8 == 0x61 || (sw >> 8 == 0x9F && cla == CLASS_CPS2TER);
}

static apdu_command get_response(const apdu_channel *channel, uint8_t cla, int get_response_cla)
{
    uint32_t le = length_in(channel->sw);
    apdu_command wire = {.ins = GET_RESPONSE, .le = le < channel->max_le ? le : channel->max_le};

    if (get_response_cla >= 0)
        wire.cla = (uint8_t)get_response_cla;
    else if (cla != CLASS_CPS2TER)
        wire.cla = (uint8_t)(cla & ~CHAINING);
    return wire;
}

static int complete(apdu_channel *channel, apdu_command wire, int get_response_cla)
{
    const uint8_t cla = wire.cla;
    bool corrected = false;

    for (int round = 0; round < APDU_MAX_ROUNDS; round++) {
        size_t body = 0;
        int rc = round_trip(channel, &wire, &body);
        if (rc != APDU_OK)
            return rc;
        if (channel->sw >> 8 == 0x6C && body == 0 && wire.le > 0 && !corrected) {
            wire.le = length_in(channel->sw);
            corrected = true;
        } else if (has_more(channel->sw, cla)) {
            wire = get_response(channel, cla, get_response_cla);
            corrected = false;
        } else {
            return APDU_OK;
        }
    }
    return APDU_E_LIMIT;
}

static int check_command(const apdu_command *c)
{
    if (carries_pin(c))
        return APDU_E_PIN_COMMAND;
    if (c->data_len > APDU_MAX_DATA || (c->data_len > 0 && c->data == NULL))
        return APDU_E_ARGUMENT;
    if (!c->extended && (c->block == 0 || c->le > 256))
        return APDU_E_ARGUMENT; /* before the first block of a chain goes out, not after */
    return APDU_OK;
}

int apdu_exchange(apdu_channel *channel, const apdu_command *command, int get_response_cla)
{
    apdu_command last = *command;
    int rc;

    if (atomic_flag_test_and_set(&channel->busy))
        return APDU_E_BUSY;
    channel->out_len = 0;
    channel->sw = 0x9000;
    rc = check_command(command);
    if (get_response_cla < -1 || get_response_cla > 0xFF || channel->max_le == 0 || channel->max_le > 256)
        rc = APDU_E_ARGUMENT;
    if (rc == APDU_OK && !command->extended)
        rc = send_chain(channel, command, &last);
    if (rc != APDU_OK || channel->sw != 0x9000)
        goto done;
    if (channel->t0 && last.data_len > 0)
        last.le = 0; /* T=0 has one length byte: the answer is fetched by GET RESPONSE */
    rc = complete(channel, last, get_response_cla);
done:
    if (rc != APDU_OK)
        channel->out_len = 0;
    atomic_flag_clear(&channel->busy);
    return rc;
}
