// SPDX-License-Identifier: Apache-2.0
// The entry points pcscd calls (IFD handler 3.0, <ifdhandler.h>): a virtual reader of 1 to 16 slots.
#define _GNU_SOURCE
#pragma GCC visibility push(default)
#include <ifdhandler.h>
#pragma GCC visibility pop
#include <reader.h>

#include <stdio.h>
#include <string.h>

#include "control.h"
#include "oddpad.h"
#include "slot.h"

enum { DRIVER_VERSION = 0x01000000 };

static struct slot slots[SLOTS_MAX];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static void prepare(void) {
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        pthread_mutex_init(&slots[i].lock, NULL);
        slots[i].peer = slots[i].listener = slots[i].wake = -1;
    }
}

static struct slot *find(DWORD lun) {
    struct slot *found = NULL;
    pthread_mutex_lock(&table);
    for (size_t i = 0; i < SLOTS_MAX && found == NULL; i++)
        if (slots[i].used && slots[i].lun == lun)
            found = &slots[i];
    pthread_mutex_unlock(&table);
    return found;
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName) {
    struct settings set;
    RESPONSECODE rc = IFD_COMMUNICATION_ERROR;
    const unsigned index = (unsigned)(Lun & 0xFFFF);
    pthread_once(&prepared, prepare);
    if (!settings_parse(DeviceName, &set) || index >= set.slots) {
        fprintf(stderr, "cpx-sim driver: DEVICENAME not understood: %s\n", DeviceName);
        return IFD_NO_SUCH_DEVICE;
    }
    pthread_mutex_lock(&table);
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (slots[i].used)
            continue;
        if (slot_open(&slots[i], Lun, index + set.first, &set))
            rc = IFD_SUCCESS;
        break;
    }
    pthread_mutex_unlock(&table);
    if (rc != IFD_SUCCESS)
        fprintf(stderr, "cpx-sim driver: no socket at %s.%u\n", set.base, index + set.first);
    return rc;
}

RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel) {
    (void)Lun;
    (void)Channel;
    return IFD_NOT_SUPPORTED; // the sockets have names
}

RESPONSECODE IFDHCloseChannel(DWORD Lun) {
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    pthread_mutex_lock(&table);
    slot_close(s);
    pthread_mutex_unlock(&table);
    return IFD_SUCCESS;
}

static RESPONSECODE wait_for_event(DWORD Lun, int timeout) {
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    slot_wait(s, timeout);
    // pcscd 1.9.9 tells this thread to end by the reader's lock, which a client that ends its transaction at that moment
    // overwrites; pcscd would then wait for this thread for ever. It ends here as it does there.
    if (slot_unplugged(s))
        pthread_exit(NULL);
    return IFD_SUCCESS;
}

static RESPONSECODE stop_waiting(DWORD Lun) {
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    slot_interrupt(s);
    return IFD_SUCCESS;
}

static RESPONSECODE give(PDWORD Length, PUCHAR Value, const void *data, size_t len) {
    if (*Length < len)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(Value, data, len);
    *Length = (DWORD)len;
    return IFD_SUCCESS;
}

static RESPONSECODE give_byte(PDWORD Length, PUCHAR Value, unsigned value) {
    const uint8_t byte = (uint8_t)value;
    return give(Length, Value, &byte, 1);
}

static RESPONSECODE give_dword(PDWORD Length, PUCHAR Value, uint32_t value) {
    return give(Length, Value, &value, sizeof value); // 4 bytes, as Windows has it
}

static RESPONSECODE card_attribute(struct slot *s, DWORD Tag, PDWORD Length, PUCHAR Value) {
    switch (Tag) {
    case TAG_IFD_ATR:
        return s->powered ? give(Length, Value, s->atr, s->atr_len) : IFD_COMMUNICATION_ERROR;
    case SCARD_ATTR_ATR_STRING:
        return s->powered ? give(Length, Value, s->atr, s->atr_len) : IFD_COMMUNICATION_ERROR;
    case SCARD_ATTR_ICC_PRESENCE: // 0 absent, 2 present and swallowed
        return give_byte(Length, Value, s->peer >= 0 && !s->gone ? 2 : 0);
    case SCARD_ATTR_ICC_INTERFACE_STATUS:
        return give_byte(Length, Value, s->powered ? 1 : 0);
    case SCARD_ATTR_VENDOR_IFD_TYPE: {
        const char *type = s->set.pinpad ? "cpx-sim PIN pad" : "cpx-sim";
        return give(Length, Value, type, strlen(type) + 1);
    }
    case TAG_IFD_SLOTS_NUMBER:
        return give_byte(Length, Value, s->set.slots);
    default:
        return IFD_ERROR_TAG;
    }
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value) {
    RESPONSECODE (*const wait)(DWORD, int) = wait_for_event;
    RESPONSECODE (*const stop)(DWORD) = stop_waiting;
    static const char vendor[] = "cpxd project";
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    if (Length == NULL || Value == NULL)
        return IFD_COMMUNICATION_ERROR;
    switch (Tag) {
    case TAG_IFD_SIMULTANEOUS_ACCESS:
        return give_byte(Length, Value, SLOTS_MAX);
    case TAG_IFD_THREAD_SAFE:
    case TAG_IFD_SLOT_THREAD_SAFE:
        return give_byte(Length, Value, 1);
    case TAG_IFD_POLLING_THREAD_KILLABLE:
        return give_byte(Length, Value, 0);
    case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT:
        return give(Length, Value, &wait, sizeof wait);
    case TAG_IFD_STOP_POLLING_THREAD:
        return give(Length, Value, &stop, sizeof stop);
    case SCARD_ATTR_VENDOR_NAME:
        return give(Length, Value, vendor, sizeof vendor);
    case SCARD_ATTR_VENDOR_IFD_VERSION:
        return give_dword(Length, Value, DRIVER_VERSION);
    case SCARD_ATTR_MAXINPUT:
        return give_dword(Length, Value, FRAME_MAX);
    default:
        break;
    }
    pthread_mutex_lock(&s->lock);
    RESPONSECODE rc = card_attribute(s, Tag, Length, Value);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value) {
    (void)Lun;
    (void)Tag;
    (void)Length;
    (void)Value;
    return IFD_NOT_SUPPORTED;
}

// No PPS goes out: the wire has no speed. The protocol must be one the ATR offers.
RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1, UCHAR PTS2, UCHAR PTS3) {
    struct slot *s = find(Lun);
    RESPONSECODE rc = IFD_PROTOCOL_NOT_SUPPORTED;
    (void)Flags;
    (void)PTS1;
    (void)PTS2;
    (void)PTS3;
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    pthread_mutex_lock(&s->lock);
    if (!s->powered)
        rc = IFD_COMMUNICATION_ERROR;
    else if ((Protocol == SCARD_PROTOCOL_T0 && (s->protocols & 1U) != 0) ||
             (Protocol == SCARD_PROTOCOL_T1 && (s->protocols & 2U) != 0))
        rc = IFD_SUCCESS;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength) {
    struct slot *s = find(Lun);
    RESPONSECODE rc = IFD_NOT_SUPPORTED;
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    pthread_mutex_lock(&s->lock);
    switch (Action) {
    case IFD_POWER_DOWN:
        *AtrLength = 0;
        rc = slot_power(s, CTL_OFF) == IO_OK ? IFD_SUCCESS : IFD_COMMUNICATION_ERROR;
        break;
    case IFD_POWER_UP:
    case IFD_RESET:
        rc = IFD_ERROR_POWER_ACTION;
        if (slot_power(s, Action == IFD_RESET ? CTL_RESET : CTL_ON) == IO_OK)
            rc = give(AtrLength, Atr, s->atr, s->atr_len);
        if (rc != IFD_SUCCESS)
            *AtrLength = 0;
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                               PDWORD RxLength, PSCARD_IO_HEADER RecvPci) {
    struct slot *s = find(Lun);
    size_t len = *RxLength;
    *RxLength = 0;
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    if (TxLength < 4 || TxLength > FRAME_MAX) // shorter is no command, and one byte would be a control of the wire
        return IFD_COMMUNICATION_ERROR;
    pthread_mutex_lock(&s->lock);
    RESPONSECODE rc = ask_card(s, TxBuffer, TxLength, RxBuffer, &len);
    pthread_mutex_unlock(&s->lock);
    if (rc == IFD_SUCCESS)
        *RxLength = len;
    if (RecvPci != NULL)
        RecvPci->Protocol = SendPci.Protocol;
    return rc;
}

RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                         DWORD RxLength, LPDWORD pdwBytesReturned) {
    struct slot *s = find(Lun);
    size_t len = RxBuffer != NULL ? RxLength : 0;
    if (pdwBytesReturned == NULL)
        return IFD_COMMUNICATION_ERROR;
    *pdwBytesReturned = 0;
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    pthread_mutex_lock(&s->lock);
    const size_t sent = TxBuffer != NULL ? TxLength : 0;
    RESPONSECODE rc = s->set.oddity == ODD_NONE ? reader_control(s, dwControlCode, TxBuffer, sent, RxBuffer, &len)
                                                : odd_control(s, dwControlCode, TxBuffer, sent, RxBuffer, &len);
    pthread_mutex_unlock(&s->lock);
    if (rc == IFD_SUCCESS)
        *pdwBytesReturned = len;
    return rc;
}

RESPONSECODE IFDHICCPresence(DWORD Lun) {
    struct slot *s = find(Lun);
    if (s == NULL)
        return IFD_NO_SUCH_DEVICE;
    return slot_present(s) ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}
