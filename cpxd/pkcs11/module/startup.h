/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting the daemon when nobody listens: `cpxd serve`, detached from the host.
 */
#ifndef CPXD_STARTUP_H
#define CPXD_STARTUP_H

#include <stdbool.h>
#include <stddef.h>

/* Where a distribution may put the program when it is not beside the module; a build may name another. */
#ifndef CPXD_PROGRAM
#define CPXD_PROGRAM "/usr/bin/cpxd"
#endif

/* The first that may be run of: the path written in libcpxd-pkcs11.daemon beside the module, bin/cpxd of the
 * installation the module lies in, CPXD_PROGRAM. Never looked up through the environment. */
bool startup_find(char *path, size_t size);

/* true: a process was started that tries to become the daemon. Returns at once. */
bool startup_daemon(void);

#endif
