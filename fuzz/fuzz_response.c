/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the answers of a card. Input: 8 bytes of settings (flags, CLA, INS, data length 2, Le 2, max_le), then
 * answers: a length byte (FF: 257 more) and that many bytes; when they run out, the terminal fails.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "_apdu.h"

enum { T1 = 1, EXTENDED = 2, PIN = 4, FAIL = 8, SETTINGS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *data;
    size_t size;
    size_t received;
    size_t sent;
    size_t observed;
    bool masked;
} script;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static int64_t answer(apdu_channel *channel, const uint8_t *sent, size_t sent_len, uint8_t *received, size_t cap,
                      size_t *received_len)
{
    script *s = channel->user;
    size_t length;

    require(sent_len >= 4 && sent_len <= APDU_MAX_COMMAND && cap == APDU_MAX_RESPONSE);
    require(!s->masked || memchr(sent, 0x2A, sent_len) == NULL);
    s->sent++;
    if (s->size == 0)
        return 0x80100069;
    length = s->data[0];
    length = length == 0xFF ? 512 : length;
    s->data++;
    s->size--;
    length = length < s->size ? length : s->size;
    memcpy(received, s->data, length);
    s->data += length;
    s->size -= length;
    s->received += length;
    *received_len = length;
    return 0;
}

static void observe(apdu_channel *channel, const uint8_t *sent, size_t sent_len, const uint8_t *received,
                    size_t received_len, double milliseconds)
{
    script *s = channel->user;

    require(milliseconds >= 0 && received_len <= APDU_MAX_RESPONSE);
    for (size_t i = 5; s->masked && i < sent_len; i++)
        require(sent[i] == 0x2A);
    for (size_t i = 0; s->masked && i + 2 < received_len; i++)
        require(received[i] == 0x2A);
    s->observed++;
}

static apdu_secret *pin_of_the_test(void)
{
    apdu_secret *secret = apdu_secret_new();
    int ends[2];

    require(secret != NULL && pipe(ends) == 0);
    require(write(ends[1], "1234\n", 5) == 5);
    require(apdu_secret_read_fd(secret, ends[0], -1) == APDU_OK);
    close(ends[0]);
    close(ends[1]);
    return secret;
}

static void try_pin(apdu_channel *channel, script *s)
{
    static apdu_secret *secret;
    int rc;

    if (secret == NULL)
        secret = pin_of_the_test();
    const apdu_pin_block block = {.secret = secret, .stored_len = 8, .pad = 0xFF, .minimum = 4, .maximum = 4};
    s->masked = true;
    rc = apdu_pin(channel, 0x00, 0x20, 0x00, 0x01, &block, 1);
    require(rc == APDU_OK || rc == APDU_E_RESPONSE || rc == APDU_E_TRANSPORT);
    require(s->sent == 1 && channel->apdus == 1 && channel->out_len == 0);
    for (size_t i = 0; i < APDU_MAX_RESPONSE; i++)
        require(channel->rx[i] == 0);
}

static void try_command(apdu_channel *channel, script *s, const uint8_t *settings)
{
    static const uint8_t content[APDU_MAX_DATA];
    const apdu_command command = {
        .cla = settings[1],
        .ins = settings[2],
        .data = content,
        .data_len = (uint32_t)(settings[3] << 8 | settings[4]),
        .le = (uint32_t)(settings[5] << 8 | settings[6]),
        .extended = (settings[0] & EXTENDED) != 0,
        .block = (uint8_t)(settings[0] >> 4 ? 255 / (settings[0] >> 4) : 255),
    };
    int rc = apdu_exchange(channel, &command, settings[0] & FAIL ? 0x00 : -1);

    require(rc == APDU_OK || channel->out_len == 0);
    require(rc != APDU_E_ARGUMENT || s->sent == 0);
    require(channel->out_len <= s->received && channel->out_len <= APDU_MAX_LE);
    require(s->sent <= 2 * APDU_MAX_DATA && channel->apdus == s->sent);
    require(rc != APDU_OK || (s->sent > 0 && s->received >= 2));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apdu_channel *channel;
    script s = {0};

    if (size < SETTINGS)
        return 0;
    if (channel == NULL)
        channel = apdu_channel_new();
    require(channel != NULL);
    s.data = data + SETTINGS;
    s.size = size - SETTINGS;
    channel->user = &s;
    channel->send = answer;
    channel->observe = observe;
    channel->t0 = (data[0] & T1) == 0;
    channel->max_le = data[7] == 0 ? 256 : data[7];
    channel->apdus = 0;
    if (data[0] & PIN)
        try_pin(channel, &s);
    else
        try_command(channel, &s, data);
    require(s.observed == s.sent);
    return 0;
}
