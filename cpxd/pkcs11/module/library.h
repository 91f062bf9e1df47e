/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of the library in this process: initialised or not, by whom, with which locks, and its two connections
 * (one for calls, one for C_WaitForSlotEvent).
 */
#ifndef CPXD_LIBRARY_H
#define CPXD_LIBRARY_H

#include "connection.h"
#include "events.h"

struct library {
    struct connection calls;
    struct connection events;
    struct event_queue queue;
    struct environment environment;
    CK_C_INITIALIZE_ARGS callbacks;
};

/* The one of this process; to be used between library_enter and library_leave. */
extern struct library library;

CK_RV library_initialize(const CK_C_INITIALIZE_ARGS *args);
CK_RV library_finalize(void);

/* Around each call: CKR_CRYPTOKI_NOT_INITIALIZED unless this very process initialised the library. C_Finalize waits
 * until every call has left. *cancel_state is for library_leave. */
CK_RV library_enter(int *cancel_state);
void library_leave(int cancel_state);

#endif
