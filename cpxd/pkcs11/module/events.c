/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <string.h>

#include "handshake.h"
#include "rpc.h"

#define LOOK_AGAIN 1000 /* ms between two looks for a daemon that is away */

static void add(struct slot_set *set, const struct slot_set *more)
{
    for (size_t i = 0; i < more->count; i++) {
        bool there = false;

        for (size_t j = 0; j < set->count; j++)
            there = there || set->slots[j] == more->slots[i];
        if (!there && set->count < EVENT_SLOTS)
            set->slots[set->count++] = more->slots[i];
    }
}

static bool pop(struct event_queue *queue, CK_SLOT_ID *slot)
{
    struct slot_set *pending = &queue->pending;
    bool found = false;

    if (lock_take(&queue->lock) != CKR_OK)
        return false;
    if (pending->count > 0) {
        found = true;
        *slot = pending->slots[0];
        pending->count--;
        memmove(pending->slots, pending->slots + 1, pending->count * sizeof pending->slots[0]);
    }
    lock_leave(&queue->lock);
    return found;
}

static void daemon_went(struct event_queue *queue)
{
    if (lock_take(&queue->lock) != CKR_OK)
        return;
    add(&queue->pending, &queue->known);
    queue->known.count = 0;
    queue->away = true;
    lock_leave(&queue->lock);
}

/* Whether it is the first one that the host waits for. */
static bool daemon_came(struct event_queue *queue, const struct slot_set *slots, unsigned generation)
{
    bool first;

    if (lock_take(&queue->lock) != CKR_OK)
        return false;
    first = queue->generation == 0 && !queue->away;
    if (queue->away || (queue->generation != 0 && queue->generation != generation)) /* no other caller saw it come */
        add(&queue->pending, slots);
    queue->known = *slots;
    queue->generation = generation;
    queue->away = false;
    lock_leave(&queue->lock);
    return first;
}

static bool knows(struct event_queue *queue, unsigned generation)
{
    bool known;

    if (lock_take(&queue->lock) != CKR_OK)
        return false;
    known = queue->generation == generation;
    lock_leave(&queue->lock);
    return known;
}

/* Connects if need be, and asks which slots there are. */
static CK_RV ask_slots(struct slot_set *slots, unsigned *generation)
{
    CK_ULONG count = EVENT_SLOTS;
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_GetSlotList);
    rpc.connection = &library.events;
    rpc_connect(&rpc);
    rpc_put_byte(&rpc, CK_FALSE);
    rpc_put_count(&rpc, slots->slots, count);
    if (rpc_run(&rpc))
        rpc_get_slots(&rpc, slots->slots, &count);
    *generation = rpc.peer.generation;
    slots->count = count <= EVENT_SLOTS ? count : 0;
    return rpc_leave(&rpc);
}

static CK_RV ask_event(struct connection *connection, const struct peer *peer, CK_FLAGS flags, CK_SLOT_ID *slot)
{
    struct rpc rpc;

    rpc_enter(&rpc, CALL_C_WaitForSlotEvent);
    rpc.connection = connection;
    if ((flags & CKF_DONT_BLOCK) != 0)
        rpc.limit = LIMIT_INFO;
    rpc_on(&rpc, peer);
    rpc_put_ulong(&rpc, flags);
    if (rpc_run(&rpc))
        *slot = rpc_get_ulong(&rpc);
    return rpc_leave(&rpc);
}

/* *lost: the daemon went meanwhile, and the CK_RV is of no interest. */
static CK_RV wait_here(const struct peer *peer, CK_FLAGS flags, CK_SLOT_ID *slot, bool *lost)
{
    struct peer now;
    CK_RV rv = ask_event(&library.events, peer, flags, slot);

    *lost = rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED &&
            connection_peek(&library.events, &now) == STALE;
    return rv;
}

/* What has happened since the host first looked at the slots: this connection begins to see only now, the one of the
 * other calls has seen it. An event between the two is told twice. */
static void catch_up(struct event_queue *queue)
{
    struct slot_set seen = {.count = 0};
    struct peer peer;

    if (connection_peek(&library.calls, &peer) != DONE || !peer.is_cpxd)
        return;
    while (seen.count < EVENT_SLOTS &&
           ask_event(&library.calls, &peer, CKF_DONT_BLOCK, &seen.slots[seen.count]) == CKR_OK)
        seen.count++;
    if (lock_take(&queue->lock) != CKR_OK)
        return;
    add(&queue->pending, &seen);
    lock_leave(&queue->lock);
}

static CK_RV wait_for_event(CK_FLAGS flags, CK_SLOT_ID *slot)
{
    struct event_queue *queue = &library.queue;
    struct slot_set slots;
    struct peer peer;
    unsigned generation;
    bool lost;
    CK_RV rv;

    while (!pop(queue, slot)) {
        if (connection_peek(&library.events, &peer) == DONE && knows(queue, peer.generation)) {
            rv = wait_here(&peer, flags, slot, &lost);
            if (!lost)
                return rv;
            daemon_went(queue);
            continue;
        }
        rv = ask_slots(&slots, &generation);
        if (rv == CKR_OK) {
            if (daemon_came(queue, &slots, generation))
                catch_up(queue);
            continue;
        }
        if (rv == CKR_CRYPTOKI_NOT_INITIALIZED || rv == CKR_CANT_LOCK)
            return rv;
        daemon_went(queue);
        if (pop(queue, slot))
            return CKR_OK;
        if ((flags & CKF_DONT_BLOCK) != 0)
            return CKR_NO_EVENT;
        if (wait_ready(-1, library.events.cancel_fd, 0, clock_ms() + LOOK_AGAIN) == CANCELLED)
            return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    return CKR_OK;
}

CK_RV events_wait(CK_FLAGS flags, CK_SLOT_ID *slot, const void *reserved)
{
    bool block = (flags & CKF_DONT_BLOCK) == 0;
    int cancel_state;
    CK_RV rv = library_enter(&cancel_state);

    if (rv != CKR_OK)
        return rv;
    if (slot == NULL || reserved != NULL)
        rv = CKR_ARGUMENTS_BAD;
    else if (!block && atomic_load(&library.queue.blocked) > 0)
        rv = CKR_NO_EVENT; /* the event is the other caller's, and a daemon that works in order would not answer */
    else {
        (void)atomic_fetch_add(&library.queue.blocked, block);
        rv = wait_for_event(flags, slot);
        (void)atomic_fetch_sub(&library.queue.blocked, block);
    }
    library_leave(cancel_state);
    return rv;
}
