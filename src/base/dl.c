/* SPDX-License-Identifier: Apache-2.0 */
#include "dl.h"

#include <dlfcn.h>
#include <string.h>

void *fst3fs_dl_loaded(const char *soname)
{
	return dlopen(soname, RTLD_NOW | RTLD_NOLOAD);
}

const char *fst3fs_dl_resolve(void *lib, const struct fst3fs_dl_symbol *symbols, size_t n, void *table)
{
	const char *missing = NULL;

	for (size_t i = 0; i < n; i++) {
		void *address = dlsym(lib, symbols[i].name);

		if (!address && !symbols[i].optional && !missing)
			missing = symbols[i].name;
		/* By bytes: C has no cast from an object pointer to a function pointer, POSIX promises that they are
		 * alike. */
		memcpy((char *)table + symbols[i].offset, &address, sizeof(address));
	}
	return missing;
}
