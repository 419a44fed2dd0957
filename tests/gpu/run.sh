#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds, tests and measures on a machine with an NVIDIA GPU, in under 8 minutes: tests/gpu/run.sh [OUTPUT_FOLDER]
#
# Needs: a C compiler, python3 with torch, numpy, safetensors, pytest, meson and ninja; no network, no CUDA toolkit.
# usrbiod is built where libfuse3's development files are, or taken from $USRBIOD. Without either everything is read
# through the operating system, and every line of the result says so.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build-gpu/result}
build=build-gpu/meson
prefix=$PWD/build-gpu/prefix
mkdir -p "$out"
out=$(cd "$out" && pwd)

say() { printf '\n==== %s\n' "$*"; }

say "machine"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || echo "no nvidia-smi"
uname -mr
nproc

python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
	echo "PyTorch sees no GPU here: there is nothing to test or to measure" >&2
	exit 1
}

say "build"
build_all() {
	test -f "$build/build.ninja" || meson setup "$build" --buildtype=release -Dpython=enabled -Dtests=disabled \
		-Dprefix="$prefix" -Dpython.purelibdir="$prefix/python" -Dpython.platlibdir="$prefix/python"
	meson install -C "$build"
}
build_all > "$out/build.log" 2>&1 || {
	tail -n 40 "$out/build.log"
	exit 1
}
# What pip would leave beside the package, which tells its version by it.
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build | head -n 1)
mkdir -p "$prefix/python/fastsafetensor_3fs_reader-$version.dist-info"
printf 'Metadata-Version: 2.1\nName: fastsafetensor-3fs-reader\nVersion: %s\n' "$version" \
	> "$prefix/python/fastsafetensor_3fs_reader-$version.dist-info/METADATA"
export PYTHONPATH="$prefix/python"

if [ -z "${USRBIOD:-}" ] && [ -x "$prefix/bin/usrbiod" ]; then
	USRBIOD=$prefix/bin/usrbiod
fi
if [ -n "${USRBIOD:-}" ] && [ -c /dev/fuse ]; then
	export USRBIOD
	echo "usrbiod: $USRBIOD"
else
	unset USRBIOD
	echo "!!!! no usrbiod (or no /dev/fuse) here: USRBIO IS NOT TESTED, all reads go through the operating system"
fi

status=0
say "tests"
python3 -m pytest -q -p no:cacheprovider -o filterwarnings=default tests/gpu 2>&1 | tee "$out/tests.log" || true
grep -q ' passed' "$out/tests.log" && ! grep -Eq '[0-9]+ (failed|error)' "$out/tests.log" || status=1

say "compute-sanitizer"
if command -v compute-sanitizer > /dev/null; then
	timeout 90 compute-sanitizer --tool memcheck --target-processes all --error-exitcode 99 \
		python3 tests/gpu/small_read.py > "$out/sanitizer.log" 2>&1 && echo "clean" || {
		code=$?
		tail -n 15 "$out/sanitizer.log"
		if [ "$code" = 99 ]; then status=1; else echo "did not run (status $code)"; fi
	}
else
	echo "not installed here"
fi

say "figures"
timeout 240 python3 tests/gpu/measure.py --output "$out/figures.json" || status=1

say "result: $([ "$status" = 0 ] && echo passed || echo FAILED)"
exit "$status"
