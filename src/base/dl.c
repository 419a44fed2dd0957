/* SPDX-License-Identifier: Apache-2.0 */
#include "dl.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

static int has_name(struct dl_phdr_info *info, size_t size, void *soname)
{
	const char *slash = strrchr(info->dlpi_name, '/');

	(void)size;
	return strcmp(slash ? slash + 1 : info->dlpi_name, soname) == 0;
}

int fst3fs_dl_loaded(const char *soname, void **lib)
{
	errno = 0;
	*lib = dlopen(soname, RTLD_NOW | RTLD_NOLOAD);
	if (*lib || errno != ENOMEM)
		return 0;
	/* dlopen says the same of one that is not there and of one that it has no memory to look for. The list is asked
	 * then alone: its lock stays taken in a child that is made while another thread goes through it. */
	return dl_iterate_phdr(has_name, (void *)soname) ? -ENOMEM : 0;
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
