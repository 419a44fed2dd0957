# SPDX-License-Identifier: Apache-2.0
"""Throughput of this package and of what one would use otherwise: python hack/benchmark/benchmark_runner.py --help"""

import sys

# Worker processes import this file again, and need nothing of the runner.
if __name__ == "__main__":
    from runner import main

    sys.exit(main())
