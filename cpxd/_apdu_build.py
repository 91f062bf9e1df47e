# SPDX-License-Identifier: Apache-2.0
"""Builds the module `cpxd._apdu_ffi` out of the C core (cffi, API mode: the GIL is released during each call).

Every warning is an error, in our sources and in the file that cffi generates. Two more only our sources stand: -pedantic
and clang; `fuzz/run_asan.sh` and `fuzz/run.sh` apply those.
"""

from __future__ import annotations

from cffi import FFI

SOURCES = [
    "cpxd/_apdu.c",
    "cpxd/_apdu_exchange.c",
    "cpxd/_apdu_galss.c",
    "cpxd/_apdu_refused.c",
    "cpxd/_apdu_request.c",
    "cpxd/_apdu_secret.c",
    "cpxd/_apdu_sha256.c",
    "cpxd/_apdu_terminal.c",
    "cpxd/_apdu_tlv.c",
    "cpxd/_assuan.c",
]
WARNINGS = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wformat=2", "-Werror"]
HARDENING = ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fPIC"]
LINK = ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"]

CDEF = """
typedef struct {
    uint8_t cla, ins, p1, p2;
    const uint8_t *data;
    uint32_t data_len;
    uint32_t le;
    bool extended;
    uint8_t block;
} apdu_command;
int apdu_encode(const apdu_command *command, uint8_t *out, size_t cap, size_t *out_len);

typedef struct apdu_channel apdu_channel;
typedef int64_t apdu_send_fn(apdu_channel *, const uint8_t *, size_t, uint8_t *, size_t, size_t *);
typedef void apdu_observe_fn(apdu_channel *, const uint8_t *, size_t, const uint8_t *, size_t, double);
struct apdu_channel {
    apdu_send_fn *send;
    apdu_observe_fn *observe;
    void *user;
    uint64_t handle;
    bool t0;
    uint32_t max_le;
    uint64_t apdus;
    uint64_t get_responses;
    int64_t code;
    uint16_t sw;
    size_t out_len;
    uint8_t out[...];
    ...;
};
apdu_channel *apdu_channel_new(void);
void apdu_channel_free(apdu_channel *channel);
int64_t apdu_send_pcsc(apdu_channel *, const uint8_t *, size_t, uint8_t *, size_t, size_t *);
int apdu_exchange(apdu_channel *channel, const apdu_command *command, int get_response_cla);
typedef struct apdu_galss apdu_galss;
apdu_galss *apdu_galss_new(uintptr_t exchange, uint16_t session, uint8_t lad, uint16_t milliseconds);
void apdu_galss_free(apdu_galss *terminal);
void apdu_galss_expect(apdu_galss *terminal, uint8_t counter);
int64_t apdu_galss_order(apdu_galss *terminal, uint8_t order, uint8_t *answer, size_t cap, size_t *answer_len);
int64_t apdu_send_galss(apdu_channel *, const uint8_t *, size_t, uint8_t *, size_t, size_t *);
extern "Python" int64_t cpxd_send(apdu_channel *, const uint8_t *, size_t, uint8_t *, size_t, size_t *);
extern "Python" void cpxd_observe(apdu_channel *, const uint8_t *, size_t, const uint8_t *, size_t, double);

typedef struct apdu_secret apdu_secret;
apdu_secret *apdu_secret_new(void);
void apdu_secret_free(apdu_secret *secret);
void apdu_secret_wipe(apdu_secret *secret);
size_t apdu_secret_len(const apdu_secret *secret);
bool apdu_secret_is_digits(const apdu_secret *secret, size_t minimum, size_t maximum);
bool apdu_secret_equal(const apdu_secret *a, const apdu_secret *b);
int apdu_secret_digest(const apdu_secret *secret, const uint8_t *salt, size_t salt_len, uint8_t *out);
int apdu_secret_set(apdu_secret *secret, const uint8_t *bytes, size_t len);
int apdu_secret_read_fd(apdu_secret *secret, int fd, int64_t deadline);
int apdu_secret_read_terminal(apdu_secret *secret, const char *path, const char *prompt, int64_t deadline);
void *apdu_locked_new(size_t size);
void apdu_locked_free(void *memory, size_t size);
void apdu_wipe(void *memory, size_t size);

typedef struct apdu_refused apdu_refused;
apdu_refused *apdu_refused_new(void);
void apdu_refused_free(apdu_refused *refused);
void apdu_refused_clear(apdu_refused *refused);
int apdu_refused_add(apdu_refused *refused, const apdu_secret *secret);
int apdu_refused_holds(const apdu_refused *refused, const apdu_secret *secret);

typedef struct {
    uint64_t values[4];
    size_t value_count;
    int secrets[2];
    size_t secret_count;
} apdu_request;
int apdu_request_read(const uint8_t *body, size_t len, uint32_t call, const char *signature, apdu_request *request,
                      apdu_secret *const *secrets);

typedef struct {
    const apdu_secret *secret;
    uint8_t stored_len;
    int pad;
    uint8_t minimum, maximum;
} apdu_pin_block;
int apdu_pin(apdu_channel *channel, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2, const apdu_pin_block *blocks,
             size_t count);

typedef struct { ...; } apdu_sha256;
void apdu_sha256_init(apdu_sha256 *hash);
void apdu_sha256_update(apdu_sha256 *hash, const uint8_t *data, size_t len);
void apdu_sha256_state(const apdu_sha256 *hash, uint8_t *out);

typedef struct {
    uint32_t tag;
    size_t value;
    size_t length;
} apdu_tlv;
int apdu_tlv_next(const uint8_t *buf, size_t len, size_t *pos, bool padding, apdu_tlv *out);
int apdu_tlv_find(const uint8_t *buf, size_t len, const uint32_t *path, size_t count, bool padding, apdu_tlv *out);
int apdu_tlv_check(const uint8_t *buf, size_t len, bool padding);
int apdu_tlv_header(uint32_t tag, size_t length, uint8_t *out, size_t cap, size_t *out_len);

typedef struct assuan assuan;
assuan *assuan_new(int to, int from, int wake, const char *commands, size_t len, int64_t deadline);
void assuan_free(assuan *talk);
int assuan_run(assuan *talk, apdu_secret *secret);
bool assuan_is_word(const apdu_secret *secret, const char *word, size_t len);
bool assuan_locale_is_utf8(const char *name);

// winscard.h of pcsc-lite: the calls that take reader names, which pyscard passes as ASCII only (reader/winscard.py)
typedef long LONG;
typedef unsigned long DWORD;
typedef LONG SCARDCONTEXT;
typedef LONG SCARDHANDLE;
typedef struct {
    const char *szReader;
    void *pvUserData;
    DWORD dwCurrentState;
    DWORD dwEventState;
    DWORD cbAtr;
    unsigned char rgbAtr[33];
} SCARD_READERSTATE;
LONG SCardListReaders(SCARDCONTEXT context, const char *groups, char *readers, DWORD *size);
LONG SCardGetStatusChange(SCARDCONTEXT context, DWORD milliseconds, SCARD_READERSTATE *states, DWORD count);
LONG SCardConnect(SCARDCONTEXT context, const char *reader, DWORD mode, DWORD protocols, SCARDHANDLE *card,
                  DWORD *protocol);

#define APDU_E_ARGUMENT ...
#define APDU_E_BUSY ...
#define APDU_E_TRANSPORT ...
#define APDU_E_RESPONSE ...
#define APDU_E_LIMIT ...
#define APDU_E_PIN ...
#define APDU_E_PIN_COMMAND ...
#define APDU_E_MEMORY ...
#define APDU_E_EOF ...
#define APDU_E_LONG ...
#define APDU_E_TIMEOUT ...
#define APDU_E_INTERRUPTED ...
#define APDU_E_CANCELLED ...
#define APDU_E_TERMINAL ...
#define APDU_E_SYSTEM ...
#define APDU_E_ABSENT ...
#define APDU_MAX_COMMAND ...
#define APDU_GALSS_STATUS ...
#define APDU_GALSS_MALFORMED ...
#define APDU_GALSS_CHANGED ...
"""

ffibuilder = FFI()
ffibuilder.cdef(CDEF)
ffibuilder.set_source(
    "cpxd._apdu_ffi",
    '#include "_apdu.h"\n#include "_assuan.h"\n#include <winscard.h>',
    sources=SOURCES,
    depends=["cpxd/_apdu.h", "cpxd/_galss.h", "cpxd/_assuan.h"],
    include_dirs=["cpxd", "/usr/include/PCSC"],
    extra_compile_args=[*WARNINGS, *HARDENING],
    extra_link_args=LINK,
    libraries=["pcsclite"],
)
