/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for test_cuda_header where there is no cuda.h to compare with. */
#include <stdio.h>

int main(void)
{
	puts("skipped: no cuda.h here (CUDA's include directory can be given by CPATH)");
	return 77;
}
