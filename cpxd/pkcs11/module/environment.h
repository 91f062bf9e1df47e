/* SPDX-License-Identifier: Apache-2.0
 *
 * What the module takes from its host's environment, read once in C_Initialize (getenv is no friend of threads)
 * and never for a set-uid host (secure_getenv).
 */
#ifndef CPXD_ENVIRONMENT_H
#define CPXD_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

/* Longest options field sent; what does not fit is left out, never cut. */
#define OPTIONS_MAX 2048

struct environment {
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" when there is none that fits */
    bool may_start;                                           /* the daemon may be started */
    char options[OPTIONS_MAX];                                /* "cpx1;DISPLAY=%3A0;…", see PKCS11-MODULE.md */
    size_t options_len;
};

void environment_read(struct environment *environment);

#endif
