/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands to a card behind GALSS: the frame round an APDU. Here and not in Python because the APDU may carry a PIN.
 *
 * Frame: APPLI 00, LAD, order, then for a card command (00 data in, 01 data out, 02 both) the counter that the terminal must
 * still have, and the APDU. Answer: status, state, counter, then the card's answer. That every answer begins so, as that of
 * power on does, and that the APDU goes as it is, is ASSUMED. Short APDUs only.
 */

#include <string.h>

#include "_apdu.h"

#include "_galss.h"

enum { APPLICATION = 0, HEADER = 4, ANSWER_HEADER = 3, ORDER_IN = 0, ORDER_OUT = 1, ORDER_IN_OUT = 2 };
enum { MAX_SHORT = 4 + 1 + 255 + 1, MAX_ANSWER = 256 + 2 };

struct apdu_galss {
    galss_echange *exchange;
    uint16_t session;
    uint16_t milliseconds; /* the longest wait for one answer */
    uint8_t lad;
    uint8_t counter; /* that the terminal must have: of the card that is meant */
    uint8_t frame[HEADER + MAX_SHORT];
    uint8_t answer[ANSWER_HEADER + MAX_ANSWER];
};

apdu_galss *apdu_galss_new(uintptr_t exchange, uint16_t session, uint8_t lad, uint16_t milliseconds)
{
    apdu_galss *terminal = apdu_locked_new(sizeof *terminal);

    if (terminal != NULL) {
        terminal->exchange = (galss_echange *)exchange;
        terminal->session = session;
        terminal->milliseconds = milliseconds;
        terminal->lad = lad;
    }
    return terminal;
}

void apdu_galss_free(apdu_galss *terminal)
{
    if (terminal != NULL)
        apdu_locked_free(terminal, sizeof *terminal);
}

void apdu_galss_expect(apdu_galss *terminal, uint8_t counter)
{
    terminal->counter = counter;
}

/* The frame that stands in terminal->frame; the answer in terminal->answer. */
static int64_t ask(apdu_galss *terminal, size_t len, size_t *answer_len)
{
    uint16_t sent = (uint16_t)len;
    uint16_t got = sizeof terminal->answer;
    uint16_t code = terminal->exchange(terminal->session, terminal->milliseconds, terminal->frame, &sent, terminal->answer, &got);

    *answer_len = 0;
    if (code != 0)
        return code;
    if (got < 1 || got > sizeof terminal->answer)
        return APDU_GALSS_MALFORMED;
    if (terminal->answer[0] != 0) /* the terminal's own error, 01 to 6F */
        return APDU_GALSS_STATUS | terminal->answer[0];
    if (got < ANSWER_HEADER)
        return APDU_GALSS_MALFORMED;
    *answer_len = got;
    return 0;
}

int64_t apdu_galss_order(apdu_galss *terminal, uint8_t order, uint8_t *answer, size_t cap, size_t *answer_len)
{
    int64_t rc;
    size_t got = 0;

    terminal->frame[0] = APPLICATION;
    terminal->frame[1] = terminal->lad;
    terminal->frame[2] = order;
    rc = ask(terminal, HEADER - 1, &got);
    if (rc == 0 && got > cap)
        rc = APDU_GALSS_MALFORMED;
    *answer_len = rc == 0 ? got : 0;
    memcpy(answer, terminal->answer, *answer_len);
    return rc;
}

/* By the case of ISO/IEC 7816-3 12.1: what the card is sent, what it sends. */
static uint8_t order_of(const uint8_t *apdu, size_t len)
{
    if (len <= 4)
        return ORDER_IN;
    if (len == 5)
        return ORDER_OUT;
    return len > 5U + apdu[4] ? ORDER_IN_OUT : ORDER_IN;
}

int64_t apdu_send_galss(apdu_channel *channel, const uint8_t *sent, size_t sent_len, uint8_t *received, size_t cap,
                        size_t *received_len)
{
    apdu_galss *terminal = (apdu_galss *)(uintptr_t)channel->handle;
    size_t got = 0;
    int64_t rc = APDU_GALSS_MALFORMED;

    *received_len = 0;
    if (sent_len > MAX_SHORT || (sent_len > 5 && sent[4] == 0))
        goto out;
    terminal->frame[0] = APPLICATION;
    terminal->frame[1] = terminal->lad;
    terminal->frame[2] = order_of(sent, sent_len);
    terminal->frame[3] = terminal->counter;
    memcpy(terminal->frame + HEADER, sent, sent_len);
    rc = ask(terminal, HEADER + sent_len, &got);
    if (rc != 0)
        goto out;
    rc = APDU_GALSS_CHANGED;
    if (terminal->answer[2] != terminal->counter)
        goto out;
    rc = APDU_GALSS_MALFORMED;
    if (got - ANSWER_HEADER > cap)
        goto out;
    *received_len = got - ANSWER_HEADER;
    memcpy(received, terminal->answer + ANSWER_HEADER, *received_len);
    rc = 0;
out:
    apdu_wipe(terminal->frame, sizeof terminal->frame);
    apdu_wipe(terminal->answer, sizeof terminal->answer);
    return rc;
}
