/* SPDX-License-Identifier: Apache-2.0 */
/* Assuan, the client's side, as far as a pinentry needs it (libassuan manual, "Server responses"). */

#define _GNU_SOURCE 1
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "_assuan.h"

enum { MORE = 1 << 20 }; /* beyond every error code: the answer goes on */

struct assuan {
    const char *commands;
    size_t commands_len;
    size_t at;  /* next byte to send */
    size_t end; /* behind the line being sent, 0 when none is */
    int64_t deadline;
    int to, from, wake;
    bool may_fail; /* the command that waits for its answer */
    bool overfull; /* more data than a secret holds */
    size_t accepted;
    size_t value_len;
    uint8_t value[APDU_SECRET_MAX];
    size_t len;
    uint8_t line[ASSUAN_LINE + 2]; /* CR LF */
};

assuan *assuan_new(int to, int from, int wake, const char *commands, size_t len, int64_t deadline)
{
    assuan *talk = apdu_locked_new(sizeof *talk);

    if (talk == NULL)
        return NULL;
    talk->commands = commands;
    talk->commands_len = len;
    talk->deadline = deadline;
    talk->to = to;
    talk->from = from;
    talk->wake = wake;
    return talk;
}

void assuan_free(assuan *talk)
{
    apdu_locked_free(talk, sizeof *talk);
}

static int wait_for(const assuan *talk, int fd, short events)
{
    struct pollfd polled[2] = {{.fd = fd, .events = events}, {.fd = talk->wake, .events = POLLIN}};
    struct timespec now;
    int64_t left;
    int ready;

    clock_gettime(CLOCK_MONOTONIC, &now);
    left = talk->deadline - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    if (left <= 0) /* also for a program that never stops talking */
        return APDU_E_TIMEOUT;
    ready = poll(polled, 2, left > 1000000 ? 1000000 : (int)left);
    if (ready < 0)
        return errno == EINTR ? APDU_E_INTERRUPTED : APDU_E_SYSTEM;
    if (ready == 0)
        return left > 1000000 ? APDU_E_INTERRUPTED : APDU_E_TIMEOUT;
    return polled[1].revents != 0 ? APDU_E_CANCELLED : APDU_OK;
}

static int failure_of_io(void)
{
    if (errno == EAGAIN)
        return APDU_OK;
    if (errno == EINTR)
        return APDU_E_INTERRUPTED;
    return errno == EPIPE ? APDU_E_EOF : APDU_E_SYSTEM;
}

static int begin_command(assuan *talk)
{
    const char *start = talk->commands + talk->at;
    const char *newline = memchr(start, '\n', talk->commands_len - talk->at);

    if (newline == NULL)
        return APDU_E_ARGUMENT;
    talk->end = (size_t)(newline - talk->commands) + 1;
    talk->may_fail = *start == '-';
    if (talk->may_fail)
        talk->at++;
    return talk->end - talk->at > ASSUAN_LINE + 1 ? APDU_E_ARGUMENT : APDU_OK;
}

static int send_command(assuan *talk)
{
    int rc = talk->end == 0 ? begin_command(talk) : APDU_OK;

    while (rc == APDU_OK && talk->at < talk->end) {
        ssize_t n;

        rc = wait_for(talk, talk->to, POLLOUT);
        if (rc != APDU_OK)
            return rc;
        n = write(talk->to, talk->commands + talk->at, talk->end - talk->at);
        if (n < 0)
            rc = failure_of_io();
        else
            talk->at += (size_t)n;
    }
    if (rc == APDU_OK)
        talk->end = 0;
    return rc;
}

/* Until the buffer holds a whole line; its length with the LF in *len. */
static int receive_line(assuan *talk, size_t *len)
{
    for (;;) {
        const uint8_t *newline = memchr(talk->line, '\n', talk->len);
        ssize_t n;
        int rc;

        if (newline != NULL) {
            *len = (size_t)(newline - talk->line) + 1;
            return APDU_OK;
        }
        if (talk->len == sizeof talk->line)
            return APDU_E_LONG;
        rc = wait_for(talk, talk->from, POLLIN);
        if (rc != APDU_OK)
            return rc;
        n = read(talk->from, talk->line + talk->len, sizeof talk->line - talk->len);
        if (n == 0)
            return APDU_E_EOF;
        if (n < 0) {
            rc = failure_of_io();
            if (rc != APDU_OK)
                return rc;
            continue;
        }
        talk->len += (size_t)n;
        talk->accepted += (size_t)n;
        if (talk->accepted > ASSUAN_BUDGET)
            return APDU_E_LIMIT;
    }
}

static void forget_line(assuan *talk, size_t len)
{
    talk->len -= len;
    memmove(talk->line, talk->line + len, talk->len);
    apdu_wipe(talk->line + talk->len, sizeof talk->line - talk->len);
}

static int nibble(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-encoded data, added to what came before. */
static int take_data(assuan *talk, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = data[i];

        if (byte == '%') {
            int high = len - i > 2 ? nibble(data[i + 1]) : -1;
            int low = len - i > 2 ? nibble(data[i + 2]) : -1;

            if (high < 0 || low < 0)
                return APDU_E_RESPONSE;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (talk->value_len < sizeof talk->value)
            talk->value[talk->value_len++] = byte;
        else
            talk->overfull = true;
    }
    return MORE;
}

/* "ERR number [text]": the low 16 bits are the error, above them stands who found it. */
static int error_code(const uint8_t *text, size_t len)
{
    uint64_t number = 0;
    size_t i = 0;

    while (i < len && i < 10 && text[i] >= '0' && text[i] <= '9')
        number = number * 10 + (uint64_t)(text[i++] - '0');
    if (i < len && text[i] != ' ')
        return APDU_E_RESPONSE;
    number &= 0xFFFF;
    return number == 0 ? APDU_E_RESPONSE : (int)number;
}

static bool opens_with(const uint8_t *line, size_t len, const char *word)
{
    size_t size = strlen(word);
    return len >= size && memcmp(line, word, size) == 0 && (len == size || line[size] == ' ');
}

/* MORE, APDU_OK, or why the command failed. */
static int judge(assuan *talk, size_t len, bool data_wanted)
{
    const uint8_t *line = talk->line;

    len--; /* LF */
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (opens_with(line, len, "OK"))
        return APDU_OK;
    if (opens_with(line, len, "ERR"))
        return len > 4 ? error_code(line + 4, len - 4) : APDU_E_RESPONSE;
    if (opens_with(line, len, "D") && data_wanted)
        return len > 2 ? take_data(talk, line + 2, len - 2) : MORE;
    if (opens_with(line, len, "S") || (len > 0 && line[0] == '#'))
        return MORE;
    return APDU_E_RESPONSE; /* INQUIRE too: nothing that we ask makes a pinentry inquire */
}

static int receive_answer(assuan *talk, bool data_wanted)
{
    int rc = MORE;

    while (rc == MORE) {
        size_t len = 0;

        rc = receive_line(talk, &len);
        if (rc != APDU_OK)
            return rc;
        rc = judge(talk, len, data_wanted);
        forget_line(talk, len);
    }
    return rc > 0 && talk->may_fail ? APDU_OK : rc;
}

int assuan_run(assuan *talk, apdu_secret *secret)
{
    for (;;) {
        bool last = talk->at == talk->commands_len;
        int rc;

        if (talk->end == 0) { /* else a signal came while a command was being sent: its answer cannot be here */
            rc = receive_answer(talk, last && secret != NULL);
            if (rc != APDU_OK)
                return rc;
            if (last)
                break;
        }
        rc = send_command(talk);
        if (rc != APDU_OK)
            return rc;
    }
    if (talk->overfull)
        return APDU_E_PIN;
    return secret == NULL ? APDU_OK : apdu_secret_set(secret, talk->value, talk->value_len);
}

bool assuan_is_word(const apdu_secret *secret, const char *word, size_t len)
{
    const uint8_t *bytes = apdu_secret_bytes(secret);
    size_t from = 0;
    size_t to = apdu_secret_len(secret);

    while (from < to && bytes[from] == ' ')
        from++;
    while (to > from && bytes[to - 1] == ' ')
        to--;
    if (to - from != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t typed = bytes[from + i];
        if (typed >= 'A' && typed <= 'Z')
            typed = (uint8_t)(typed - 'A' + 'a');
        if (typed != (uint8_t)word[i])
            return false;
    }
    return true;
}

bool assuan_locale_is_utf8(const char *name)
{
    locale_t found = newlocale(LC_CTYPE_MASK, name, (locale_t)0);
    bool utf8;

    if (found == (locale_t)0)
        return false;
    utf8 = strcmp(nl_langinfo_l(CODESET, found), "UTF-8") == 0;
    freelocale(found);
    return utf8;
}
