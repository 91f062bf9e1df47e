/* SPDX-License-Identifier: Apache-2.0
 *
 * C_WaitForSlotEvent, on its own connection. A daemon that comes or goes is an event of each of its slots: a host
 * that only listens (NSS ends its listener at the first error) still learns that the card is gone, and back.
 */
#ifndef CPXD_EVENTS_H
#define CPXD_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "lock.h"
#include "pkcs11.h"

#define EVENT_SLOTS 32

struct slot_set {
    CK_SLOT_ID slots[EVENT_SLOTS];
    size_t count;
};

/* What is to be told to the host that no daemon will tell. */
struct event_queue {
    struct lock lock;
    struct slot_set known;   /* slots of the daemon last spoken to */
    struct slot_set pending; /* slots whose event is still to be returned */
    unsigned generation;     /* the connection `known` is from */
    bool away;               /* the daemon was found missing since */
    atomic_int blocked;      /* callers that wait without end */
};

CK_RV events_wait(CK_FLAGS flags, CK_SLOT_ID *slot, const void *reserved);

#endif
