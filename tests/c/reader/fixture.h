/* SPDX-License-Identifier: Apache-2.0 */
/* Files with known bytes, and readers over the fault transport. */
#ifndef READER_FIXTURE_H
#define READER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fst3fs.h"
#include "io_fault.h"
#include "reader_i.h"

/* The byte at `offset` of the file made with `salt`. */
uint8_t fixture_byte(unsigned salt, uint64_t offset);
/* A file of `size` bytes in a scratch directory of this process; the path is static storage of the fixture. */
const char *fixture_file(const char *name, unsigned salt, uint64_t size);
/* Fails the test unless `bytes` are those of the file from `offset` on. */
void fixture_check(const uint8_t *bytes, unsigned salt, uint64_t offset, uint64_t length);

/* A reader whose "mount" is the scratch directory, read through io_fault with `config`. */
struct fst3fs_reader *fixture_reader(const struct io_fault_config *config, uint64_t buffer, int entries,
				     uint32_t timeout_ms);
/* The same with every option at hand. */
struct fst3fs_reader *fixture_reader_with(const struct io_fault_config *config, const struct fst3fs_options *o);

/* Set-up and teardown of every test: an empty scratch directory, nothing left in flight or allocated. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#endif
