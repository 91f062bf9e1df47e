/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APDU core: commands, the exchange loop, BER-TLV, secrets and PIN commands.
 * It knows no Python and keeps no global state but the terminal's, while a secret is being typed.
 * Every function that parses takes (buf, len) and reads nothing outside it.
 */
#ifndef CPXD_APDU_H
#define CPXD_APDU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum apdu_status {
    APDU_OK = 0,
    APDU_E_ARGUMENT = -1,    /* a size or a value out of range */
    APDU_E_BUSY = -2,        /* the channel or the terminal is in use by another call */
    APDU_E_TRANSPORT = -3,   /* the terminal failed; channel->code says how */
    APDU_E_RESPONSE = -4,    /* shorter than a status word, or longer than was asked for */
    APDU_E_LIMIT = -5,       /* too many rounds or too many bytes */
    APDU_E_PIN = -6,         /* wrong length or a non-digit: nothing was sent */
    APDU_E_PIN_COMMAND = -7, /* a command that carries a PIN goes through apdu_pin() only */
    APDU_E_MEMORY = -8,      /* no memory that can be locked */
    APDU_E_EOF = -9,
    APDU_E_LONG = -10,
    APDU_E_TIMEOUT = -11,
    APDU_E_INTERRUPTED = -12, /* a signal; call again to go on where it stopped */
    APDU_E_CANCELLED = -13,   /* a signal that ends things; it was raised again after clean-up */
    APDU_E_TERMINAL = -14,    /* no terminal to ask on */
    APDU_E_SYSTEM = -15,      /* errno says what */
    APDU_E_TLV = -16,         /* malformed BER-TLV */
    APDU_E_ABSENT = -17       /* no such tag */
};

enum {
    APDU_MAX_DATA = 65535,
    APDU_MAX_LE = 65536,
    APDU_MAX_COMMAND = 4 + 3 + APDU_MAX_DATA + 2,
    APDU_MAX_RESPONSE = APDU_MAX_LE + 2,
    APDU_MAX_ROUNDS = 600, /* 65,536 bytes in blocks of 231 need 284 */
    APDU_SECRET_MAX = 64,
    APDU_TLV_DEPTH = 16
};

/* ---- commands (ISO/IEC 7816-3 12.1, 7816-4 5.1) */

typedef struct {
    uint8_t cla, ins, p1, p2;
    const uint8_t *data;
    uint32_t data_len; /* 0 to 65,535 */
    uint32_t le;       /* 0: no Le field; 1 to 256, extended 1 to 65,536 */
    bool extended;     /* extended length fields */
    uint8_t block;     /* short form: longer data is chained in blocks of this size, 1 to 255 */
} apdu_command;

/* One command as one APDU, without chaining. */
int apdu_encode(const apdu_command *command, uint8_t *out, size_t cap, size_t *out_len);

/* ---- channel */

typedef struct apdu_channel apdu_channel;

/* Sends one raw APDU. Returns 0, or the transport's own error code. */
typedef int64_t apdu_send_fn(apdu_channel *channel, const uint8_t *sent, size_t sent_len, uint8_t *received, size_t cap,
                             size_t *received_len);
/* Sees each raw pair; received_len is 0 when the transport failed. */
typedef void apdu_observe_fn(apdu_channel *channel, const uint8_t *sent, size_t sent_len, const uint8_t *received,
                             size_t received_len, double milliseconds);

struct apdu_channel {
    apdu_send_fn *send;
    apdu_observe_fn *observe; /* may be NULL */
    void *user;               /* for send and observe */
    uint64_t handle;          /* SCARDHANDLE, for apdu_send_pcsc */
    bool t0;                  /* T=0: a case 4 command goes without Le */
    uint32_t max_le;          /* the most that one GET RESPONSE asks for, 1 to 256 */
    uint64_t apdus;           /* raw APDUs sent */
    uint64_t get_responses;   /* of which GET RESPONSE */
    int64_t code;             /* of the last APDU_E_TRANSPORT */
    uint16_t sw;              /* of the last exchange */
    size_t out_len;
    uint8_t out[APDU_MAX_LE]; /* data of the last exchange */
    atomic_flag busy;
    uint8_t tx[APDU_MAX_COMMAND];
    uint8_t rx[APDU_MAX_RESPONSE];
};

apdu_channel *apdu_channel_new(void);
void apdu_channel_free(apdu_channel *channel);

int64_t apdu_send_pcsc(apdu_channel *channel, const uint8_t *sent, size_t sent_len, uint8_t *received, size_t cap,
                       size_t *received_len);

/* A command and what belongs to it: chaining, 61xx (9Fxx in class A0) and GET RESPONSE, one repeat after 6Cxx.
   get_response_cla: -1 for the command's own class (00 for class A0). Result in channel->out and channel->sw. */
int apdu_exchange(apdu_channel *channel, const apdu_command *command, int get_response_cla);

/* ---- a card behind GALSS (_galss.h says what is assumed of it) */

enum {
    APDU_GALSS_STATUS = 0x10000,    /* and the error byte of the terminal; below: a code of GALSS */
    APDU_GALSS_MALFORMED = 0x20000, /* an answer of no known form, or a command too long for the frame */
    APDU_GALSS_CHANGED = 0x20001    /* the counter moved: not the card that was asked */
};

typedef struct apdu_galss apdu_galss;

/* exchange: the library's Echange, a galss_echange. NULL: no memory. */
apdu_galss *apdu_galss_new(uintptr_t exchange, uint16_t session, uint8_t lad, uint16_t milliseconds);
void apdu_galss_free(apdu_galss *terminal);
void apdu_galss_expect(apdu_galss *terminal, uint8_t counter);
/* An order to the terminal itself, without data: 14 power on, 15 withdraw, 16 presence. answer: status 00, state, counter,
   more. Returns 0 or one of the codes above. */
int64_t apdu_galss_order(apdu_galss *terminal, uint8_t order, uint8_t *answer, size_t cap, size_t *answer_len);
/* An apdu_send_fn; channel->handle is the apdu_galss. */
int64_t apdu_send_galss(apdu_channel *channel, const uint8_t *sent, size_t sent_len, uint8_t *received, size_t cap,
                        size_t *received_len);

/* ---- secrets */

typedef struct apdu_secret apdu_secret;

apdu_secret *apdu_secret_new(void);
void apdu_secret_free(apdu_secret *secret);
void apdu_secret_wipe(apdu_secret *secret);
size_t apdu_secret_len(const apdu_secret *secret);
bool apdu_secret_is_digits(const apdu_secret *secret, size_t minimum, size_t maximum);
bool apdu_secret_equal(const apdu_secret *a, const apdu_secret *b);
int apdu_secret_digest(const apdu_secret *secret, const uint8_t *salt, size_t salt_len, uint8_t out[32]);

/* Takes a copy; APDU_E_LONG over APDU_SECRET_MAX bytes, and the secret is then empty. */
int apdu_secret_set(apdu_secret *secret, const uint8_t *bytes, size_t len);
/* Reads one line (LF or CR LF, or end of file) and not a byte more. deadline: CLOCK_MONOTONIC milliseconds, -1 none. */
int apdu_secret_read_fd(apdu_secret *secret, int fd, int64_t deadline);
/* Asks on a terminal with echo off; echo is back on every way out. */
int apdu_secret_read_terminal(apdu_secret *secret, const char *path, const char *prompt, int64_t deadline);

/* For the C files of this core: one line from fd; wake (or -1) is a descriptor whose readiness interrupts. */
int apdu_secret_read_line(apdu_secret *secret, int fd, int wake, int64_t deadline);
const uint8_t *apdu_secret_bytes(const apdu_secret *secret);
/* Zeroed memory in pages of its own: locked, never dumped, not inherited by a fork. */
void *apdu_locked_new(size_t size);
void apdu_locked_free(void *memory, size_t size);
void apdu_wipe(void *memory, size_t size);

/* Secrets that were refused, as salted digests in a page of their own: the oldest gives way to the newest. */
typedef struct apdu_refused apdu_refused;
apdu_refused *apdu_refused_new(void);
void apdu_refused_free(apdu_refused *refused);
void apdu_refused_clear(apdu_refused *refused);
int apdu_refused_add(apdu_refused *refused, const apdu_secret *secret);
/* 1, 0, or APDU_E_MEMORY. */
int apdu_refused_holds(const apdu_refused *refused, const apdu_secret *secret);

/* ---- requests of the PKCS#11 socket that carry secrets (p11-kit RPC, docs/PKCS11.md) */

enum { APDU_REQUEST_VALUES = 4, APDU_REQUEST_SECRETS = 2 };

typedef struct {
    uint64_t values[APDU_REQUEST_VALUES]; /* of the "u" in the signature, in order */
    size_t value_count;
    int secrets[APDU_REQUEST_SECRETS]; /* of the "ay": APDU_OK, APDU_E_ABSENT (NULL) or APDU_E_LONG */
    size_t secret_count;
} apdu_request;

/* The body of one request: u32 call, u32 length and signature, then the values it announces ("u" 8 bytes, "ay", "z" and
   "s"). The byte arrays go into the secrets, in order. APDU_E_ARGUMENT when it is not exactly that. */
int apdu_request_read(const uint8_t *body, size_t len, uint32_t call, const char *signature, apdu_request *request,
                      apdu_secret *const secrets[APDU_REQUEST_SECRETS]);

/* ---- PIN commands */

typedef struct {
    const apdu_secret *secret;
    uint8_t stored_len;       /* bytes of the block */
    int pad;                  /* 0 to 255, or -1: the secret fills the block */
    uint8_t minimum, maximum; /* digits */
} apdu_pin_block;

/* One APDU, sent at most once whatever is answered. Result in channel->sw. */
int apdu_pin(apdu_channel *channel, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2, const apdu_pin_block *blocks,
             size_t count);

/* One raw APDU; with `pin` the observer sees 2A for every data byte. Answer in channel->rx. For this core's files. */
int apdu_send_once(apdu_channel *channel, const uint8_t *tx, size_t tx_len, bool pin, size_t *rx_len);

/* ---- SHA-256 (FIPS 180-4) */

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} apdu_sha256;

void apdu_sha256_init(apdu_sha256 *hash);
void apdu_sha256_update(apdu_sha256 *hash, const uint8_t *data, size_t len);
void apdu_sha256_final(apdu_sha256 *hash, uint8_t out[32]);
/* The chaining value, big-endian; meaningful after a whole number of 64-byte blocks. */
void apdu_sha256_state(const apdu_sha256 *hash, uint8_t out[32]);

/* ---- BER-TLV (ISO/IEC 7816-4 5.2.2, X.690) */

typedef struct {
    uint32_t tag; /* as written: 0x5F20, 0xBF8101 */
    size_t value; /* offset in the buffer */
    size_t length;
} apdu_tlv;

/* The object at *pos, which then moves behind it. Returns 1, 0 at the end, or APDU_E_TLV.
   padding: bytes 00 and FF before, between and after objects are skipped. */
int apdu_tlv_next(const uint8_t *buf, size_t len, size_t *pos, bool padding, apdu_tlv *out);
/* The first object at the end of a path of tags, depth first. */
int apdu_tlv_find(const uint8_t *buf, size_t len, const uint32_t *path, size_t count, bool padding, apdu_tlv *out);
/* Whether all constructed objects are well formed down to the last; deeper than APDU_TLV_DEPTH is malformed. */
int apdu_tlv_check(const uint8_t *buf, size_t len, bool padding);
/* Tag and length field. At most 9 bytes. */
int apdu_tlv_header(uint32_t tag, size_t length, uint8_t *out, size_t cap, size_t *out_len);

#endif
