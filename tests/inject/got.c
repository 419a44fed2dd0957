/* SPDX-License-Identifier: Apache-2.0 */
#include "got.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { CALLED = R_X86_64_JUMP_SLOT, TAKEN = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { CALLED = R_AARCH64_JUMP_SLOT, TAKEN = R_AARCH64_GLOB_DAT };
#else
#error "relocations of this architecture"
#endif

struct wish {
	const char *object;
	void *(*with)(const char *name);
	int replaced; /* -1 = the object was not seen yet */
};

/* What the dynamic section says. */
struct dynamic {
	const ElfW(Sym) * symbols;
	const char *names;
	const ElfW(Rela) * tables[2];
	size_t bytes[2];
};

static void read_dynamic(const struct dl_phdr_info *info, const ElfW(Dyn) * entry, struct dynamic *d)
{
	for (; entry->d_tag != DT_NULL; entry++) {
		/* The loader has made addresses of the pointers, but for objects that it may not write to. */
		ElfW(Addr) at =
			entry->d_un.d_ptr < info->dlpi_addr ? entry->d_un.d_ptr + info->dlpi_addr : entry->d_un.d_ptr;

		switch (entry->d_tag) {
		case DT_SYMTAB:
			d->symbols = (const void *)at;
			break;
		case DT_STRTAB:
			d->names = (const void *)at;
			break;
		case DT_JMPREL:
			d->tables[0] = (const void *)at;
			break;
		case DT_PLTRELSZ:
			d->bytes[0] = entry->d_un.d_val;
			break;
		case DT_RELA:
			d->tables[1] = (const void *)at;
			break;
		case DT_RELASZ:
			d->bytes[1] = entry->d_un.d_val;
			break;
		default:
			break;
		}
	}
}

static void put(void **place, void *function)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)place & -page;

	/* The loader may have made it read-only. */
	mprotect((void *)begin, page, PROT_READ | PROT_WRITE);
	*place = function;
}

static void replace(struct wish *wish, const struct dl_phdr_info *info, const struct dynamic *d, int table)
{
	for (size_t i = 0; i < d->bytes[table] / sizeof(ElfW(Rela)); i++) {
		const ElfW(Rela) *r = &d->tables[table][i];
		void *function = NULL;

		if (ELF64_R_TYPE(r->r_info) == CALLED || ELF64_R_TYPE(r->r_info) == TAKEN)
			function = wish->with(d->names + d->symbols[ELF64_R_SYM(r->r_info)].st_name);
		if (function) {
			put((void **)(info->dlpi_addr + r->r_offset), function);
			wish->replaced++;
		}
	}
}

static int is_wanted(const char *path, const char *object)
{
	size_t n = strlen(path), m = strlen(object);

	return m == 0 ? n == 0 : n >= m && strcmp(path + n - m, object) == 0;
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wish *wish = arg;
	struct dynamic d = {0};

	(void)size;
	if (!is_wanted(info->dlpi_name, wish->object))
		return 0;
	wish->replaced = 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			read_dynamic(info, (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr), &d);
	replace(wish, info, &d, 0);
	replace(wish, info, &d, 1);
	return 1;
}

int got_replace(const char *object, void *(*with)(const char *name))
{
	struct wish wish = {.object = object, .with = with, .replaced = -1};

	dl_iterate_phdr(look, &wish);
	return wish.replaced;
}
