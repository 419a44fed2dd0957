/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries opened at run time. The typed functions of one library live in one struct; a const table says which symbol
 * goes to which member.
 */
#ifndef FST3FS_DL_H
#define FST3FS_DL_H

#include <stdbool.h>
#include <stddef.h>

struct fst3fs_dl_symbol {
	const char *name; /* exactly as the library exports it */
	size_t offset;	  /* of the function pointer in the struct */
	bool optional;	  /* a library without it is still of use; the member is NULL then */
};

/* The library `soname`, if this process has it loaded already: 0 and `*lib`, which is NULL otherwise. -ENOMEM: it is
 * loaded, and cannot be had. Never loads anything. The library then stays loaded for the rest of the process. */
int fst3fs_dl_loaded(const char *soname, void **lib);

/* Fills the function pointers of `table`. Returns the name of the first symbol that is not optional and missing, or
 * NULL; whatever was found is filled in either way. */
const char *fst3fs_dl_resolve(void *lib, const struct fst3fs_dl_symbol *symbols, size_t n, void *table);

#endif
