/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the stand-in libraries of GALSS to the simulator: one AF_UNIX connection a session, in packets.
 * Request: sequence (4 bytes, the machine's order), operation, body. Answer: sequence, code (2 bytes), body.
 */
#ifndef CPXSIM_GALSS_WIRE_H
#define CPXSIM_GALSS_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum operation {
    OP_OPEN = 1,
    OP_CLOSE,
    OP_CLAIM,
    OP_YIELD,
    OP_EXCHANGE,
    OP_VERSION,
    OP_WRITE_CONTEXT,
    OP_READ_CONTEXT,
    OP_COUNT,
    OP_TABLE
};

/* As the manual of SSV 4.03 describes the numbers of GALSS; a wrong session or room has none there: a defect (INVENTED). */
enum code { NO_SERVICE = 0x8002, NO_SESSION = 0x0001, LATE = 0x0400, TOO_SMALL = 0x0001, TOO_MANY = 0x0002 };

enum { WIRE_MAX = 8192, WIRE_HEAD = 4 + 1, WIRE_ANSWER_HEAD = 4 + 2, WIRE_WAIT = 10000 };

/* A connection to the simulator (environment CPX_SIM_GALSS), or -1. */
int wire_connect(void);
/* Asks and waits at most so many milliseconds; an answer to an earlier question is passed over. len: in room, out length. */
uint16_t wire_ask(int link, uint8_t operation, const uint8_t *body, size_t body_len, uint8_t *out, size_t *len, int wait);

#endif
