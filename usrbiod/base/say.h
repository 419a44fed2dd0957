/* SPDX-License-Identifier: Apache-2.0 */
/* A line on standard error about what a client did; a client may do it as often as it likes. */
#ifndef USRBIOD_SAY_H
#define USRBIOD_SAY_H

/* Says it after "usrbiod: ", unless something was said within the last second. */
__attribute__((format(printf, 1, 2))) void say_seldom(const char *format, ...);

#endif
