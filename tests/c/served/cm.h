/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before itself, in this order. */
#ifndef CM_H
#define CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
