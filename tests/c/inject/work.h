/* SPDX-License-Identifier: Apache-2.0 */
/* What a program does with the library, one function of fst3fs.h after the other. */
#ifndef INJECT_WORK_H
#define INJECT_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "fst3fs.h"
#include "served.h"

#include "cm.h"

enum { WORK_SIZE = 300 * 1024 + 17, WORK_TENSOR = 1000 };

struct work_state {
	const char *mount;
	bool posix; /* without USRBIO */
	struct fst3fs_reader *reader;
	uint8_t bytes[WORK_SIZE];
};

struct work {
	const char *name;
	bool opened; /* the reader is there before it */
	bool posix;
	/* 0 and WORK_SIZE bytes of the file in `bytes`, or a negative errno. */
	int (*run)(struct work_state *s, struct fst3fs_error *err);
};

enum { WORKS = 11 };
extern const struct work works[WORKS];

void work_files(struct served *mount);
void work_begin(const struct work *work, struct work_state *s);
/* The bytes of a run that came through. */
void work_check(const struct work_state *s);
/* The same work, undisturbed, with the same reader if there is one. */
void work_again(const struct work *work, struct work_state *s);
void work_end(struct work_state *s);

#endif
