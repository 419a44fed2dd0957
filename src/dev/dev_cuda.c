/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of NVIDIA GPUs, through the driver that the host process has loaded.
 *
 * One device of this kind is one GPU and one staging buffer. Its lanes (cuda_lane.h) are made for the contexts that
 * destinations turn out to belong to, nearly always the GPU's primary one alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda_lane.h"
#include "cuda_pin.h"
#include "dev.h"

struct cuda_dev {
	struct fst3fs_dev base;
	const struct fst3fs_cuda_driver *cu;
	struct fst3fs_dev_config config;
	struct fst3fs_cuda_lane *lanes;
	struct fst3fs_cuda_pin *pin; /* NULL until the first read begins */
	bool pin_asked;
};

static struct cuda_dev *cuda_dev(struct fst3fs_dev *dev)
{
	return (struct cuda_dev *)dev;
}

static int cuda_match(uint64_t address, int *ordinal, struct fst3fs_error *err)
{
	const struct fst3fs_cuda_driver *cu;
	struct fst3fs_cuda_place place;
	int rc = fst3fs_cuda_driver_get(&cu);

	if (rc < 0)
		return fst3fs_err_set(err, rc, "no memory to look for the CUDA driver");
	if (!cu)
		return 0;
	rc = fst3fs_cuda_locate(cu, address, &place, err);
	if (rc > 0)
		*ordinal = place.ordinal;
	return rc;
}

static int cuda_open(int ordinal, const struct fst3fs_dev_config *config, struct fst3fs_dev **out,
		     struct fst3fs_error *err)
{
	const struct fst3fs_cuda_driver *cu;
	struct cuda_dev *dev;

	if (fst3fs_cuda_driver_get(&cu) < 0 || !cu || cu->missing)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_DEVICE, -ENOTSUP,
					   "the CUDA driver in this process has no %s; version 450 or newer is needed",
					   cu ? cu->missing : "libcuda.so.1");
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return fst3fs_err_set(err, -ENOMEM, "no memory for a GPU device");
	*dev = (struct cuda_dev){.base = {.ops = &fst3fs_dev_cuda, .ordinal = ordinal}, .cu = cu, .config = *config};
	snprintf(dev->base.name, sizeof(dev->base.name), "cuda:%d", ordinal);
	*out = &dev->base;
	return 0;
}

static bool cuda_close(struct fst3fs_dev *base, bool given_up)
{
	struct cuda_dev *dev = cuda_dev(base);
	struct fst3fs_cuda_lane *lane, *next;
	bool stuck = false;

	(void)given_up; /* what counts is whether the GPU has finished */
	for (lane = dev->lanes; lane; lane = next) {
		next = lane->next;
		stuck |= lane->head != NULL;
		fst3fs_cuda_lane_close(lane);
	}
	/* Memory that a GPU may still read stays page-locked, and the call to unlock it could block for ever. */
	if (!stuck)
		fst3fs_cuda_pin_put(dev->pin);
	free(dev);
	return !stuck;
}

/* Which context an address belongs to, asked anew for each copy: that is cheap, and memory that was freed meanwhile is
 * found out here rather than by the GPU. */
static int cuda_place(struct cuda_dev *dev, uint64_t dst, struct fst3fs_cuda_place *place, struct fst3fs_error *err)
{
	int rc = fst3fs_cuda_locate(dev->cu, dst, place, err);

	if (rc < 0)
		return rc;
	if (rc == 0 || place->ordinal != dev->base.ordinal)
		return fst3fs_err_set_kind(err, FST3FS_ERROR_DEVICE, -EFAULT,
					   "address 0x%llx is not memory of %s (any more)", (unsigned long long)dst,
					   dev->base.name);
	return 0;
}

static int lane_add(struct cuda_dev *dev, const struct fst3fs_cuda_place *place, struct fst3fs_cuda_lane **out,
		    struct fst3fs_error *err)
{
	int rc = fst3fs_cuda_lane_open(dev->cu, place, dev->base.name, dev->config.waker, out, err);

	if (rc < 0)
		return rc;
	(*out)->next = dev->lanes;
	dev->lanes = *out;
	if (!dev->pin_asked) {
		dev->pin_asked = true;
		dev->pin = fst3fs_cuda_pin_get(dev->cu, place, &dev->config);
	}
	return 0;
}

/* The lane of `dst`, made when it is the first of its context. One that has failed is good for nothing more, and with
 * `renew` gives way to a new one once its copies were collected. */
static int lane_for(struct cuda_dev *dev, uint64_t dst, bool renew, struct fst3fs_cuda_lane **out,
		    struct fst3fs_error *err)
{
	struct fst3fs_cuda_lane **at = &dev->lanes, *lane;
	struct fst3fs_cuda_place place;
	int rc = cuda_place(dev, dst, &place, err);

	if (rc < 0)
		return rc;
	while (*at && !fst3fs_cuda_context_fits(&(*at)->ctx, &place))
		at = &(*at)->next;
	lane = *at;
	if (lane && renew && lane->failed && !lane->head) {
		*at = lane->next;
		fst3fs_cuda_lane_close(lane);
		lane = NULL;
	}
	*out = lane;
	return lane ? 0 : lane_add(dev, &place, out, err);
}

static int cuda_begin(struct fst3fs_dev *base, uint64_t dst, struct fst3fs_error *err)
{
	struct cuda_dev *dev = cuda_dev(base);
	struct fst3fs_cuda_lane *lane;
	int rc = lane_for(dev, dst, true, &lane, err);

	if (rc < 0)
		return rc;
	return fst3fs_cuda_lane_begin(lane, err);
}

static int cuda_copy(struct fst3fs_dev *base, struct fst3fs_dev_copy *copy, bool wait, struct fst3fs_error *err)
{
	struct fst3fs_cuda_lane *lane;
	int rc = lane_for(cuda_dev(base), copy->parts[0].dst, false, &lane, err);

	if (rc < 0)
		return rc;
	copy->dev = base;
	return fst3fs_cuda_lane_copy(lane, copy, wait, err);
}

static int cuda_reap(struct fst3fs_dev *base, struct fst3fs_dev_copy **out, int max, struct fst3fs_error *err)
{
	struct cuda_dev *dev = cuda_dev(base);
	int n = 0;

	for (struct fst3fs_cuda_lane *lane = dev->lanes; lane && n < max; lane = lane->next)
		n += fst3fs_cuda_lane_reap(lane, out + n, max - n, err);
	return n;
}

static int cuda_page_locked(const struct fst3fs_dev *base)
{
	const struct cuda_dev *dev = (const struct cuda_dev *)base;

	if (dev->pin)
		return fst3fs_cuda_pin_state(dev->pin);
	return dev->pin_asked ? 0 : -1;
}

static int cuda_remark(struct fst3fs_dev *base, char *line, size_t size)
{
	struct cuda_dev *dev = cuda_dev(base);

	return dev->pin ? fst3fs_cuda_pin_remark(dev->pin, dev->base.name, line, size) : 0;
}

const struct fst3fs_dev_ops fst3fs_dev_cuda = {
	.size = sizeof(struct fst3fs_dev_ops),
	.name = "cuda",
	.descr = "NVIDIA GPUs through the CUDA driver, opened at run time",
	.match = cuda_match,
	.open = cuda_open,
	.close = cuda_close,
	.begin = cuda_begin,
	.copy = cuda_copy,
	.reap = cuda_reap,
	.page_locked = cuda_page_locked,
	.remark = cuda_remark,
};
