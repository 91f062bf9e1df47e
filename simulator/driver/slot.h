// SPDX-License-Identifier: Apache-2.0
// One slot of the virtual reader: a listening AF_UNIX socket, and at most one connected peer, which is the card.
//
// Wire (that of vsmartcard's vpcd): 2-byte big-endian length, payload. A one-byte payload is a control:
// 00 power off, 01 power on, 02 reset (none is answered), 04 send the ATR, 08 send the keys typed on the PIN pad.
#ifndef CPXSIM_SLOT_H
#define CPXSIM_SLOT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLOTS_MAX = 16, ATR_MAX = 33, FRAME_MAX = 0xFFFF, PATH_MAX_UNIX = 107 };

enum control { CTL_OFF = 0x00, CTL_ON = 0x01, CTL_RESET = 0x02, CTL_ATR = 0x04, CTL_KEYS = 0x08 };

enum io { IO_OK, IO_GONE, IO_TIMEOUT, IO_BAD };

// A keypad that is not as PC/SC part 10 has it (oddpad.c).
enum oddity {
    ODD_NONE,
    ODD_VERIFY_ONLY, // no MODIFY_PIN_DIRECT
    ODD_BAD_TLV,     // properties of wrong lengths, and past their end
    ODD_CUT_LIST,    // the list of features ends within an entry
    ODD_REFUSES,     // 6D00 to every entry
    ODD_EXACT,       // takes one number of digits only, ended by its key: else 6B80
    ODD_LONG,        // says that it takes 6 to 12 digits
    ODD_SWAPPED,     // reads the two bytes of wPINMaxExtraDigit the other way round
    ODD_LIAR         // offers what it does not do
};

struct settings {
    unsigned slots;      // 1..16, default 4
    unsigned first;      // number of the first one's socket, default 0
    unsigned timeout_ms; // the card must answer a command within it, default 10000
    bool pinpad;
    bool usb; // it can be unplugged: its sockets are removed then
    enum oddity oddity;
    char base[PATH_MAX_UNIX - 2]; // sockets are <base>.0, <base>.1, ...
};

struct slot {
    pthread_mutex_t lock; // guards everything below; never held while waiting for a presence event
    bool used;
    unsigned long lun;
    struct settings set;
    char path[PATH_MAX_UNIX + 1];
    int listener;
    int peer; // -1: no card. Closed by slot_present() and slot_close() only, which pcscd calls from one thread
    int wake; // eventfd that ends slot_wait()
    bool gone;  // the peer left or broke the protocol; the card is out as soon as slot_present() sees it
    bool stale; // an answer is still owed: nothing but a power-on or a reset is sent
    bool powered;
    bool watched;       // pcscd's event thread of this slot is known
    pthread_t watcher;  // ... and is this one: only its look lets a card in or out
    unsigned protocols; // bit n: the ATR offers T=n
    uint8_t atr[ATR_MAX];
    size_t atr_len;
    uint8_t frame[2 + FRAME_MAX];
};

// "cpx-sim[:key=value]...:/base path". Keys: slots, pinpad (0, 1, name of an oddity), first, timeout (ms). false: not understood.
// A ":" there must be, or pcscd looks for a file of that name; its configuration file has no place for a comma.
bool settings_parse(const char *device, struct settings *out);

// Protocols offered by an ATR (ISO/IEC 7816-3, 8.2.3): bit n for T=n. 0: not an ATR.
unsigned atr_protocols(const uint8_t *atr, size_t len);

bool slot_open(struct slot *s, unsigned long lun, unsigned index, const struct settings *set);
void slot_close(struct slot *s);

// Card in or out, now. Takes the next peer of an empty slot; a foreign user's connection is closed at once.
bool slot_present(struct slot *s);

// Sleeps until presence may have changed, slot_interrupt() or the timeout (ms; negative: for ever).
void slot_wait(struct slot *s, int timeout_ms);
bool slot_unplugged(struct slot *s);
void slot_interrupt(struct slot *s);

// The following want the lock held.
enum io slot_power(struct slot *s, enum control how);
// One command, one answer; the answer lies in s->frame[2..2+*len). timeout_ms: until its last byte.
enum io slot_exchange(struct slot *s, const uint8_t *out, size_t out_len, unsigned timeout_ms, size_t *len);

#endif
