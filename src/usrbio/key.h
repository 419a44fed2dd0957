/* SPDX-License-Identifier: Apache-2.0 */
/* The name of a registration under 3fs-virt/iovs, which tells the daemon what is registered. */
#ifndef USRBIO_KEY_H
#define USRBIO_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for the longest key: an id, every part, and 64 binary digits. */
enum { USRBIO_KEY_SIZE = 192, USRBIO_UUID_SIZE = 37 };

/* How the daemon serves a ring. */
struct usrbio_ring_attr {
	bool for_read;
	int io_depth;
	int priority; /* < 0 high, 0 normal, > 0 low */
	int timeout_ms;
	uint64_t flags;
};

/* The usual 8-4-4-4-12 form, lower case. */
void usrbio_uuid_print(const uint8_t id[16], char out[USRBIO_UUID_SIZE]);
/* The reverse; false when `s` does not begin with that form. */
bool usrbio_uuid_parse(const char *s, uint8_t id[16]);

/* Writes the key of a buffer (`block_size` 0 = one block). */
void usrbio_key_buffer(char out[USRBIO_KEY_SIZE], const uint8_t id[16], size_t block_size);
/* Writes the key of a ring. */
void usrbio_key_ring(char out[USRBIO_KEY_SIZE], const uint8_t id[16], const struct usrbio_ring_attr *attr);

#endif
