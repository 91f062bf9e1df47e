/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One conversation with a pinentry program, over two descriptors, in the Assuan protocol. What the person types is read
 * into locked memory and ends in a secret; the program is untrusted: its lines, their number and its time are bounded.
 */
#ifndef CPXD_ASSUAN_H
#define CPXD_ASSUAN_H

#include "_apdu.h"

enum {
    ASSUAN_LINE = 1000,  /* bytes of a line without its LF; libassuan's programs die of a longer one */
    ASSUAN_BUDGET = 65536 /* bytes that the program may say in one conversation */
};

typedef struct assuan assuan;

/*
 * `commands` is kept, not copied: lines that end with LF, sent one after the other, each after the answer to the one before;
 * the first after the greeting. A leading "-" is not sent: that command may be refused. The answer to the last one may
 * carry data. `to` and `from` are non-blocking; `wake` (or -1) is a descriptor whose readiness ends the conversation;
 * deadline: CLOCK_MONOTONIC milliseconds. NULL when no memory can be locked.
 */
assuan *assuan_new(int to, int from, int wake, const char *commands, size_t len, int64_t deadline);
void assuan_free(assuan *talk);

/*
 * APDU_OK: all was accepted, `secret` holds the data of the last answer; it is empty otherwise. With secret NULL data is
 * no answer. > 0: the code of an ERR line, without its source (libgpg-error). APDU_E_INTERRUPTED: a signal, call again.
 * APDU_E_PIN: more was typed than a secret holds. APDU_E_EOF: the program left. APDU_E_LONG, APDU_E_LIMIT: a line without
 * end, lines without end. APDU_E_RESPONSE: no Assuan. APDU_E_CANCELLED: `wake`. APDU_E_TIMEOUT, APDU_E_SYSTEM (errno).
 */
int assuan_run(assuan *talk, apdu_secret *secret);

/* Whether the secret is this word of ASCII letters, whatever its case and the blanks round it. */
bool assuan_is_word(const apdu_secret *secret, const char *word, size_t len);

/* Whether the C library has a locale of this name, in UTF-8. */
bool assuan_locale_is_utf8(const char *name);

#endif
