/* SPDX-License-Identifier: Apache-2.0 */
#include "bulk.h"

#include <stdint.h>
#include <string.h>

/* Whoever asked for less may well look at it at once. */
#define BULK (256ul << 10)

#ifdef __x86_64__
#include <immintrin.h>

/* A line of the cache. `dst` begins at one. */
__attribute__((target("avx"))) static void stream_avx(uint8_t *dst, const uint8_t *src, size_t lines)
{
	for (size_t i = 0; i < 2 * lines; i += 2) {
		__m256i a = _mm256_loadu_si256((const __m256i *)src + i);
		__m256i b = _mm256_loadu_si256((const __m256i *)src + i + 1);

		_mm256_stream_si256((__m256i *)dst + i, a);
		_mm256_stream_si256((__m256i *)dst + i + 1, b);
	}
}

static void stream_sse(uint8_t *dst, const uint8_t *src, size_t lines)
{
	for (size_t i = 0; i < 4 * lines; i++)
		_mm_stream_si128((__m128i *)dst + i, _mm_loadu_si128((const __m128i *)src + i));
}

/* Whole lines of [dst, dst + n). */
static void stream(uint8_t *dst, const uint8_t *src, size_t lines)
{
	if (__builtin_cpu_supports("avx"))
		stream_avx(dst, src, lines);
	else
		stream_sse(dst, src, lines);
	/* Such stores are not ordered with others: whoever is told that the copy is done must see it. */
	_mm_sfence();
}
#else
static void stream(uint8_t *dst, const uint8_t *src, size_t lines)
{
	memcpy(dst, src, 64 * lines);
}
#endif

void fst3fs_bulk_copy(void *dst, const void *src, size_t n)
{
	size_t head = -(uintptr_t)dst % 64, body = (n - head) / 64 * 64;

	if (n < BULK) {
		memcpy(dst, src, n);
		return;
	}
	memcpy(dst, src, head);
	stream((uint8_t *)dst + head, (const uint8_t *)src + head, body / 64);
	memcpy((uint8_t *)dst + head + body, (const uint8_t *)src + head + body, n - head - body);
}
