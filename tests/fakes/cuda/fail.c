/* SPDX-License-Identifier: Apache-2.0 */
/* Counting calls, making chosen ones fail, and telling of misuse. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .delay_us = 200};

static const struct {
	const char *name;
	CUresult code;
	bool breaks; /* the context does not come back from it */
} errors[] = {
	{"CUDA_SUCCESS", CUDA_SUCCESS, false},
	{"CUDA_ERROR_INVALID_VALUE", CUDA_ERROR_INVALID_VALUE, false},
	{"CUDA_ERROR_OUT_OF_MEMORY", CUDA_ERROR_OUT_OF_MEMORY, false},
	{"CUDA_ERROR_NOT_INITIALIZED", CUDA_ERROR_NOT_INITIALIZED, false},
	{"CUDA_ERROR_NO_DEVICE", CUDA_ERROR_NO_DEVICE, false},
	{"CUDA_ERROR_INVALID_DEVICE", CUDA_ERROR_INVALID_DEVICE, false},
	{"CUDA_ERROR_INVALID_CONTEXT", CUDA_ERROR_INVALID_CONTEXT, false},
	{"CUDA_ERROR_ECC_UNCORRECTABLE", CUDA_ERROR_ECC_UNCORRECTABLE, true},
	{"CUDA_ERROR_OPERATING_SYSTEM", CUDA_ERROR_OPERATING_SYSTEM, false},
	{"CUDA_ERROR_INVALID_HANDLE", CUDA_ERROR_INVALID_HANDLE, false},
	{"CUDA_ERROR_NOT_READY", CUDA_ERROR_NOT_READY, false},
	{"CUDA_ERROR_ILLEGAL_ADDRESS", CUDA_ERROR_ILLEGAL_ADDRESS, true},
	{"CUDA_ERROR_LAUNCH_TIMEOUT", CUDA_ERROR_LAUNCH_TIMEOUT, true},
	{"CUDA_ERROR_CONTEXT_IS_DESTROYED", CUDA_ERROR_CONTEXT_IS_DESTROYED, false},
	{"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, false},
	{"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, false},
	{"CUDA_ERROR_LAUNCH_FAILED", CUDA_ERROR_LAUNCH_FAILED, true},
	{"CUDA_ERROR_NOT_SUPPORTED", CUDA_ERROR_NOT_SUPPORTED, false},
	{"CUDA_ERROR_UNKNOWN", CUDA_ERROR_UNKNOWN, true},
};

enum { ERRORS = sizeof(errors) / sizeof(errors[0]), MAX_CALLS = 128, MAX_RULES = 16 };

static struct {
	char name[48];
	int count;	 /* ever */
	int since_rules; /* since the rules were set: what a rule's N counts */
} calls[MAX_CALLS];

static struct {
	char name[48];
	int nth;
	CUresult error;
} rules[MAX_RULES];
static int rule_count;

/* ------------------------------------------------------------------ errors */

const char *error_name(CUresult rc)
{
	for (int i = 0; i < ERRORS; i++)
		if (errors[i].code == rc)
			return errors[i].name;
	return NULL;
}

bool breaks_context(CUresult rc)
{
	for (int i = 0; i < ERRORS; i++)
		if (errors[i].code == rc)
			return errors[i].breaks;
	return false;
}

CUresult cuGetErrorName(CUresult error, const char **name)
{
	*name = error_name(error);
	return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
	*text = error_name(error) ? "as the fake driver was told" : NULL;
	return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ------------------------------------------------------------------ rules */

static int add_rule(char *text)
{
	char *nth = strchr(text, ':'), *error = nth ? strchr(nth + 1, ':') : NULL;

	if (!error || rule_count == MAX_RULES)
		return -1;
	*nth++ = *error++ = '\0';
	for (int i = 0; i < ERRORS; i++) {
		if (strcmp(errors[i].name, error) != 0)
			continue;
		snprintf(rules[rule_count].name, sizeof(rules[0].name), "%s", text);
		rules[rule_count].nth = atoi(nth);
		rules[rule_count++].error = errors[i].code;
		return 0;
	}
	return -1;
}

static int set_rules(const char *spec)
{
	char copy[512], *save = NULL;
	int rc = 0;

	rule_count = 0;
	for (int i = 0; i < MAX_CALLS; i++)
		calls[i].since_rules = 0;
	snprintf(copy, sizeof(copy), "%s", spec ? spec : "");
	for (char *rule = strtok_r(copy, ",", &save); rule && rc == 0; rule = strtok_r(NULL, ",", &save))
		rc = add_rule(rule);
	return rc;
}

int fake_cuda_fail(const char *spec)
{
	int rc;

	pthread_mutex_lock(&fake.lock);
	rc = set_rules(spec);
	pthread_mutex_unlock(&fake.lock);
	return rc;
}

CUresult injected(const char *name)
{
	int i = 0;

	while (i < MAX_CALLS - 1 && calls[i].name[0] && strcmp(calls[i].name, name) != 0)
		i++;
	snprintf(calls[i].name, sizeof(calls[i].name), "%s", name);
	calls[i].count++;
	calls[i].since_rules++;
	for (int r = 0; r < rule_count; r++)
		if (strcmp(rules[r].name, name) == 0 && (rules[r].nth == 0 || rules[r].nth == calls[i].since_rules)) {
			fake.counts.injected++;
			return rules[r].error;
		}
	return CUDA_SUCCESS;
}

int fake_cuda_calls(const char *name)
{
	int count = 0;

	pthread_mutex_lock(&fake.lock);
	for (int i = 0; i < MAX_CALLS; i++)
		if (strcmp(calls[i].name, name) == 0)
			count = calls[i].count;
	pthread_mutex_unlock(&fake.lock);
	return count;
}

CUresult enter(const char *name)
{
	CUresult rc;

	pthread_mutex_lock(&fake.lock);
	rc = injected(name);
	if (rc != CUDA_SUCCESS && breaks_context(rc) && current())
		current()->broken = rc;
	if (rc == CUDA_SUCCESS && !fake.initialised)
		rc = CUDA_ERROR_NOT_INITIALIZED;
	pthread_cond_broadcast(&fake.changed);
	return rc;
}

CUresult leave(CUresult rc)
{
	pthread_mutex_unlock(&fake.lock);
	return rc;
}

static int from_environment(const char *name, int otherwise)
{
	const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): a test's environment stands still */

	return value && *value ? atoi(value) : otherwise;
}

CUresult cuInit(unsigned flags)
{
	CUresult rc;

	pthread_mutex_lock(&fake.lock);
	rc = flags ? CUDA_ERROR_INVALID_VALUE : injected("cuInit");
	if (rc == CUDA_SUCCESS && !fake.initialised) {
		fake.devices = from_environment("FAKE_CUDA_DEVICES", 2);
		fake.delay_us = (unsigned)from_environment("FAKE_CUDA_DELAY_US", 200);
		if (set_rules(getenv("FAKE_CUDA_FAIL")) < 0) /* NOLINT(concurrency-mt-unsafe) */
			rc = CUDA_ERROR_INVALID_VALUE;
		fake.initialised = fake.devices > 0 && fake.devices <= MAX_DEVICES;
		if (!fake.initialised)
			rc = CUDA_ERROR_NO_DEVICE;
	}
	return leave(rc);
}

/* ------------------------------------------------------------------ telling */

void wrong(const char *fmt, ...)
{
	char text[sizeof(fake.first_wrong)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (fake.counts.wrong_use++ == 0)
		memcpy(fake.first_wrong, text, sizeof(text));
	fprintf(stderr, "fake libcuda: wrong use: %s\n", text);
}

const char *fake_cuda_first_wrong(void)
{
	return fake.first_wrong;
}

void fake_cuda_counts(struct fake_cuda_counts *out)
{
	pthread_mutex_lock(&fake.lock);
	*out = fake.counts;
	for (int i = 0; i < MAX_DEVICES; i++) {
		out->primary_refs += fake.primary_refs[i];
		out->primary_active += fake.primary_refs[i] > 0;
	}
	pthread_mutex_unlock(&fake.lock);
}

const char *fake_cuda_report(int *wrong_count)
{
	static char text[512];
	struct fake_cuda_counts c;

	fake_cuda_counts(&c);
	snprintf(text, sizeof(text),
		 "%d wrong uses (%s), alive: %d streams, %d events, %d registrations; %d copies, %d of them unpinned",
		 c.wrong_use, fake.first_wrong, c.streams, c.events, c.registrations, c.copies, c.unpinned);
	if (wrong_count)
		*wrong_count = c.wrong_use + c.streams + c.events + c.registrations;
	return text;
}

void fake_cuda_delay_us(unsigned delay)
{
	pthread_mutex_lock(&fake.lock);
	fake.delay_us = delay;
	pthread_mutex_unlock(&fake.lock);
}

void fake_cuda_hang(int on)
{
	pthread_mutex_lock(&fake.lock);
	fake.hung = on;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

__attribute__((destructor)) static void at_exit(void)
{
	int count;
	const char *text = fake_cuda_report(&count);

	if (count > 0 && from_environment("FAKE_CUDA_STRICT", 0)) {
		fprintf(stderr, "fake libcuda: at exit: %s\n", text);
		_exit(97);
	}
}
