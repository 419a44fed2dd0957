# SPDX-License-Identifier: Apache-2.0
"""Makes docs/window.png: a real trace of one read into host memory over usrbiod, on a link with jitter.

Usage: picture.py OUTPUT.png
"""

import ctypes
import os
import sys
import tempfile

from fastsafetensor_3fs_reader import ThreeFSFileReader, traceplot
from fastsafetensor_3fs_reader.usrbiod import Usrbiod

SIZE = 96 << 20
#: 1 GB/s, of which one request carries a quarter; half a millisecond and up to two more for each.
LINK = ("--latency-us", "500", "--bandwidth-mbps", "1000", "--job-mbps", "250", "--jitter-us", "2000")


def main(output: str) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        backing, mount, trace = (os.path.join(folder, name) for name in ("backing", "mount", "trace.json"))
        os.mkdir(backing)
        os.mkdir(mount)
        with open(os.path.join(backing, "file"), "wb") as file:
            file.write(os.urandom(SIZE))
        target = ctypes.create_string_buffer(SIZE)
        ctypes.memset(target, 1, SIZE)  # memory that is there already
        with Usrbiod(backing, mount, *LINK):
            with ThreeFSFileReader(mount, buffer_size=16 << 20, require="usrbio", trace=trace) as reader:
                reader.read_chunked(os.path.join(mount, "file"), ctypes.addressof(target), 0, SIZE)
            seen = traceplot.load(trace)
        verdict = traceplot.judge(seen)
        title = f"{SIZE / 1e6:.0f} MB, a link of 1 GB/s: {verdict.in_flight:.1f} requests in flight on average"
        traceplot.plot(seen, output, title)
        print(verdict.words)


if __name__ == "__main__":
    main(sys.argv[1])
