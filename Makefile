# SPDX-License-Identifier: Apache-2.0
# The words people type. Each installs what is missing (hack/need, .venv) and then calls the real tool.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
MESON := $(VENV)/bin/meson
# One line for a step, and all of its output when it fails; make V=1 shows everything.
QUIET := @hack/quiet
PREFIX ?= /usr/local

# meson finds ninja, and this Python, here.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

C_FILES = $(shell find include src usrbiod tests examples hack -name '*.[ch]')
PACKAGE_SOURCES := meson.build meson.options pyproject.toml \
	$(shell find include src usrbiod python -type f -not -path '*/__pycache__/*')

# ---------------------------------------------------------------- what people type

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  V=1 with any of them shows all that its steps print'

.PHONY: demo
demo: $(VENV)/.package ## read a checkpoint through USRBIO, compare every tensor (MODEL=dir: your own; MOUNT=dir: on a real 3FS)
	@$(PY) -m fastsafetensor_3fs_reader demo $(if $(MODEL),--model '$(MODEL)') $(if $(MOUNT),--mount '$(MOUNT)')

# One process on the model that ratios are stated for, beside what one would use otherwise.
BENCH_SMALL := --serve --generate 1 --link 500,4000,500 --null --backends c,python --buffer-sizes 16,64 \
	--chunk-sizes 0,4 --num-processes 1,2 --iterations 3 --peers \
	--benchmark-op both --batch-sizes 8,32 --num-threads 8

.PHONY: bench
bench: $(VENV)/.package $(VENV)/.benched build/build.ninja ## what is reached, row by row, against its targets (MOUNT=dir: on a real 3FS; ROWS=a,b)
	@hack/need test
	$(QUIET) 'compiling the yardsticks' $(MESON) compile -C build window pages
	@$(PY) hack/benchmark/targets.py $(if $(MOUNT),--mount-point '$(MOUNT)') $(if $(ROWS),--rows '$(ROWS)')

.PHONY: bench-small
bench-small: $(VENV)/.package ## a small sweep with peers and charts, into benchmark_results/
	@$(PY) hack/benchmark/benchmark_runner.py $(BENCH_SMALL)

.PHONY: docs
docs: $(VENV)/.package $(VENV)/.documented ## the site with both APIs, and fst3fs(3), into build-docs/
	@hack/need docs
	$(QUIET) 'building the documentation' $(PY) hack/docs.py build-docs

.PHONY: test
test: ctest $(VENV)/.package $(VENV)/.tested $(VENV)/.documented ## every test: C, then Python over real mounts
	@hack/need docs
	@$(PY) -m pytest -q

.PHONY: test-engines
test-engines: $(VENV)/.package ## vLLM and SGLang, as published, load over a mount: two versions of each, without a GPU
	@$(MAKE) -j2 --output-sync=target $(VENV)-engines/.package $(VENV)-engines-old/.package
	@$(PY) -m pytest -q --timeout 600 tests/engines

# Older versions of fastsafetensors; that of requirements-test.txt is in `make test`.
FASTSAFETENSORS := 0.3.3 0.4.0

.PHONY: test-fastsafetensors
test-fastsafetensors: $(VENV)/.package $(FASTSAFETENSORS:%=$(VENV)-fastsafetensors-%/.ready) ## the copier's tests under older fastsafetensors
	@for version in $(FASTSAFETENSORS); do \
		echo "fastsafetensors $$version"; \
		USRBIOD=$(CURDIR)/$(VENV)/bin/usrbiod $(VENV)-fastsafetensors-$$version/bin/python -m pytest -q tests/python/test_fastsafetensors_copier.py || exit 1; \
	done

.PHONY: check
check: ctest $(VENV)/.package ## the quick part of the tests
	@$(PY) -m pytest -q -m 'not slow'

.PHONY: ctest
ctest: build/build.ninja
	@hack/need test
	$(QUIET) 'C tests' $(MESON) test -C build --print-errorlogs

.PHONY: lint
lint: build/build.ninja ## warnings as errors, arrows between rooms, clang-format, clang-tidy, cppcheck, ruff
	@hack/need lint
	$(QUIET) 'C with warnings as errors' $(MESON) compile -C build
	$(QUIET) 'clang-format' $(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)
	$(QUIET) 'arrows between rooms' $(PY) hack/arrows.py build
	$(QUIET) 'clang-tidy' $(PY) hack/tidy.py build
	$(QUIET) 'cppcheck' cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
		--suppressions-list=.cppcheck --std=c11 $(sort $(addprefix -I,$(dir $(filter %.h,$(C_FILES))))) \
		src usrbiod
	$(QUIET) 'ruff' $(VENV)/bin/ruff check
	$(QUIET) 'ruff format' $(VENV)/bin/ruff format --check

.PHONY: format
format: $(VENV)/.ready ## format C and Python
	$(VENV)/bin/clang-format -i $(C_FILES)
	$(VENV)/bin/ruff check --fix --quiet
	$(VENV)/bin/ruff format

# Python itself is not instrumented, so that the sanitizers' libraries come in first, and its leaks are not looked for:
# those of the module are the C tests' matter, those of the daemon are found beside it too.
ASAN_PYTHON_ENV = ASAN_OPTIONS=detect_leaks=0 USRBIOD=$(CURDIR)/tests/usrbiod-leaks
ASAN_PRELOAD = LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)"

# Those that read in the process of the tests, or are about what the daemon must bear.
SANITIZED := $(addprefix tests/python/test_,$(addsuffix .py,bytes conformance errors faults files headers hugepages hung \
	memory mounts process shm stats threads usrbiod))
# What says something of the module alone, but for tests that are about too little memory, or end in a crash.
SANITIZED_MODULE := $(addprefix tests/python/test_,$(addsuffix .py,guards inject left_early populate safe_open)) \
	$(addprefix --deselect tests/python/test_,guards.py::test_a_destination_that_goes_away \
	populate.py::test_little_address_space populate.py::test_a_control_group_that_the_read_just_fits \
	populate.py::test_conformance_without)

.PHONY: asan
asan: $(VENV)-asan/.package $(VENV)/.tested build-asan/build.ninja ## C tests, and module and usrbiod under Python tests, with ASan and UBSan
	$(QUIET) 'compiling with ASan and UBSan' $(MESON) compile -C build-asan
	$(QUIET) 'C tests with ASan and UBSan' tests/sanitized build-asan/reports $(MESON) test -C build-asan --print-errorlogs
	@$(MAKE) -j2 --output-sync=target asan-python asan-module

.PHONY: asan-python asan-module
asan-python: TESTS = $(SANITIZED)
asan-module: TESTS = $(SANITIZED_MODULE)
asan-python asan-module:
	@$(ASAN_PYTHON_ENV) tests/sanitized build-asan/reports-$@ \
		env $(ASAN_PRELOAD) $(VENV)-asan/bin/python -m pytest -q -p no:cacheprovider $(TESTS)

.PHONY: tsan
tsan: $(VENV)/.package $(VENV)/.tested build-tsan/build.ninja ## C tests, and usrbiod under Python tests, with TSan
	$(QUIET) 'compiling with TSan' $(MESON) compile -C build-tsan
	$(QUIET) 'C tests with TSan' tests/sanitized build-tsan/reports $(MESON) test -C build-tsan --print-errorlogs
	@USRBIOD=$(CURDIR)/build-tsan/usrbiod/usrbiod tests/sanitized build-tsan/reports-python $(PY) -m pytest -q $(SANITIZED)

.PHONY: valgrind
VALGRIND := valgrind -q --leak-check=full --num-callers=40 --show-leak-kinds=definite --errors-for-leak-kinds=definite \
	--error-exitcode=1 --suppressions="$(CURDIR)/tests/valgrind.supp"
valgrind: build/build.ninja ## C tests under valgrind
	@hack/need valgrind
	$(QUIET) 'C tests under valgrind' $(MESON) test -C build --print-errorlogs --timeout-multiplier 20 --wrap '$(VALGRIND)'

SOAK_SECONDS ?= 1200
.PHONY: soak
soak: $(VENV)/.package ## 12 threads of 5 processes read while daemon and processes fail, hang and die (SOAK_SECONDS=1200 SOAK_SEED=n): nothing wrong, nothing left
	@PYTHONPATH=tests/python $(PY) tests/soak/soak.py --seconds $(SOAK_SECONDS) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

.PHONY: model
model: $(VENV)/.ready ## search the models of the protocols exhaustively, and find the faults put into them (docs/proofs.md)
	@hack/need model
	@$(PY) tests/models/run.py $(MODELS)

FUZZ_SECONDS ?= 60

.PHONY: fuzz
fuzz: $(VENV)/.tested build-fuzz/build.ninja ## fuzz what reads the bytes of others for FUZZ_SECONDS (60) each, with ASan, UBSan and the lines reached (FUZZ="key fuse": those alone)
	$(QUIET) 'compiling for libFuzzer' $(MESON) compile -C build-fuzz
	@$(PY) tests/fuzz/run.py build-fuzz $(FUZZ_SECONDS) $(FUZZ)
	@$(if $(FUZZ),,$(PY) tests/fuzz/differential.py build-fuzz/corpus/table)

.PHONY: inject
inject: $(VENV)/.package build/build.ninja ## every allocation and system call fails in turn, in C and under Python (make test: one of each place)
	@hack/need test
	$(QUIET) 'C with failing calls' $(MESON) test -C build --print-errorlogs inject
	@INJECT=all $(PY) -m pytest -q tests/python/test_inject.py

# On Arm, as engines run on Grace: tests that start no second program of that architecture, which the kernel does not know how
# to run. With pages of 4 KiB, and of 64 KiB as many kernels for Grace have them.
ARM_TESTS := $(addprefix tests/python/test_,$(addsuffix .py,bytes errors faults files headers hung memory \
	mounts threads)) \
	--deselect tests/python/test_errors.py::test_no_permission
ARM_PYTHON := hack/emulate build-sysroot-aarch64/usr/bin/python3
# Those that skip something under qemu-user, and those of what the kernel's futex has a part in.
ARM_KERNEL_TESTS := populate populator sharedsem usrbio-mount usrbio-dropin usrbio-served-client usrbio-served-dropin \
	usrbio-shared-layout test_cuda_unloaded io-sdk-lib usrbiod-serve usrbiod-lies usrbiod-life fuzz-mountinfo fuzz-fuse

.PHONY: arm
arm: $(VENV)/.package build-aarch64/build.ninja build-site-aarch64/.ready build-machine-aarch64/.ready ## C tests, and Python tests over mounts, for Arm under qemu-user; daemon and client of different architectures too
	$(QUIET) 'C tests for Arm' $(MESON) test -C build-aarch64 --print-errorlogs --timeout-multiplier 4
	$(QUIET) 'C tests for Arm, pages of 64 KiB' env QEMU_PAGESIZE=65536 \
		$(MESON) test -C build-aarch64 --print-errorlogs --timeout-multiplier 4
	$(QUIET) 'clients for Arm, a daemon for this machine' env PEER_USRBIOD=$(CURDIR)/$(VENV)/bin/usrbiod \
		$(MESON) test -C build-aarch64 --print-errorlogs --timeout-multiplier 4 --suite usrbiod --suite usrbio
	$(QUIET) 'C tests on a kernel for Arm' hack/machine build-aarch64 build-machine-aarch64 $(ARM_KERNEL_TESTS)
	@$(PY) -m pytest -q tests/python/test_arm.py
	@for pages in 4096 65536; do \
		QEMU_PAGESIZE=$$pages PYTHONPATH=build-site-aarch64 USRBIOD=$(CURDIR)/$(VENV)/bin/usrbiod \
			$(ARM_PYTHON) -m pytest -q -p no:cacheprovider --timeout 600 $(ARM_TESTS) || exit 1; \
	done

.PHONY: wheel
wheel: $(VENV)/.ready build-dist-aarch64/.ready ## sdist and audited wheels for every Python and most Linuxes, x86_64 and Arm, into dist/
	@rm -rf dist build-dist && mkdir build-dist
	$(QUIET) 'sdist' $(PY) -m build --no-isolation --outdir dist --sdist
	$(QUIET) 'wheel' $(PY) -m build --no-isolation --outdir build-dist --wheel
	$(QUIET) 'auditwheel' $(PY) -m auditwheel repair --exclude 'libfuse3.so.*' --wheel-dir dist build-dist/*.whl
	$(QUIET) 'auditwheel for Arm' $(PY) -m auditwheel repair --exclude 'libfuse3.so.*' --wheel-dir dist build-dist-aarch64/*.whl
	$(QUIET) 'abi3audit' $(VENV)/bin/abi3audit --strict dist/*.whl
	@ls dist/*

.PHONY: install
install: $(VENV)/.ready ## C library, header, drop-in, usrbiod and man pages (fst3fs(3) after make docs) below PREFIX (/usr/local)
	@test -e build-install/build.ninja || hack/quiet 'configuring build-install' \
		$(MESON) setup build-install -Dbuildtype=release -Dpython=disabled -Dtests=disabled
	$(QUIET) 'configuring it' $(MESON) setup --reconfigure build-install -Dprefix=$(PREFIX) # may find what make docs has made
	$(QUIET) 'compiling' $(MESON) compile -C build-install
	@$(MESON) install -C build-install --no-rebuild

.PHONY: clean
clean: ## remove everything that was built, .venv too
	rm -rf build build-* $(VENV) $(VENV)-* .pytest_cache .ruff_cache .mypy_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- what they need

# The tools.
$(VENV)/.ready: requirements-dev.txt hack/need
	@hack/need build fuse
	@test -x $(PY) || python3 -m venv $(VENV)
	$(QUIET) 'installing the tools into $(VENV)' $(PY) -m pip install -q -r requirements-dev.txt
	@touch $@

# What only tests need, and a while to install.
$(VENV)/.tested: $(VENV)/.ready requirements-test.txt
	$(QUIET) 'installing what only tests need into $(VENV)' $(PY) -m pip install -q -r requirements-test.txt
	@touch $@

# One version of fastsafetensors; everything else its tests need comes from .venv.
$(VENV)-fastsafetensors-%/.ready: $(VENV)/.tested
	@test -x $(@D)/bin/python || python3 -m venv --without-pip $(@D)
	@$(PY) -c 'import sysconfig; print(sysconfig.get_path("platlib"))' \
		> "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/tools.pth"
	$(QUIET) 'installing fastsafetensors $* into $(@D)' $(PY) -m pip --python $(@D)/bin/python install -q --no-deps \
		--ignore-installed fastsafetensors==$*
	@touch $@

# What only the benchmark needs.
$(VENV)/.benched: $(VENV)/.tested requirements-bench.txt
	$(QUIET) 'installing what only the benchmark needs into $(VENV)' $(PY) -m pip install -q -r requirements-bench.txt
	@touch $@

# What only the documentation is built with.
$(VENV)/.documented: $(VENV)/.ready requirements-docs.txt
	$(QUIET) 'installing what documentation is built with into .venv' $(PY) -m pip install -q -r requirements-docs.txt
	@touch $@

# The package, as a user's pip would install it; its build directory stays, so that the next time is quick.
$(VENV)/.package: $(VENV)/.ready $(PACKAGE_SOURCES)
	@test ! build-wheel/meson-info -ot meson.options || rm -rf build-wheel # made with other options
	@mkdir -p build-wheel
	$(QUIET) 'building the package into $(VENV)' $(PY) -m pip install -q --no-build-isolation --no-deps \
		--force-reinstall --config-settings=build-dir=build-wheel .
	@touch $@

# The engines' published wheels, which take 4 GB, beside what they import on the way to their loaders.
$(VENV)-engines/.ready $(VENV)-engines-old/.ready: $(VENV)-%/.ready: tests/engines/%.txt tests/engines/%-wheels.txt \
		tests/engines/cpu_only.py
	@rm -rf $(@D) && python3 -m venv $(@D)
	$(QUIET) 'installing what the engines need into $(@D)' $(@D)/bin/pip install -q --no-compile -r tests/engines/$*.txt
	$(QUIET) 'installing the engines into $(@D)' $(@D)/bin/pip install -q --no-compile --no-deps -r tests/engines/$*-wheels.txt
	$(QUIET) 'making up for the GPU' $(@D)/bin/python tests/engines/cpu_only.py
	@touch $@

# A user's wheel, for both.
build-engines/.ready: $(VENV)/.package
	@rm -rf $(@D) && mkdir $(@D)
	$(QUIET) 'building a wheel for the engines' $(PY) -m pip wheel -q --no-build-isolation --no-deps \
		--config-settings=build-dir=build-wheel --wheel-dir $(@D) .
	@touch $@

$(VENV)-engines/.package $(VENV)-engines-old/.package: %/.package: %/.ready build-engines/.ready
	$(QUIET) 'installing the wheel into $(@D)' $(@D)/bin/pip install -q --no-deps --no-index --force-reinstall build-engines/*.whl
	@touch $@

# The same, instrumented; what else the tests need it takes from .venv.
$(VENV)-asan/.package: $(VENV)/.package
	@test -x $(VENV)-asan/bin/python || python3 -m venv --without-pip $(VENV)-asan
	@$(PY) -c 'import sysconfig; print(sysconfig.get_path("platlib"))' \
		> "$$($(VENV)-asan/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/tools.pth"
	@mkdir -p build-wheel-asan
	$(QUIET) 'building the package with ASan and UBSan' $(PY) -m pip --python $(VENV)-asan/bin/python install -q \
		--no-build-isolation --no-deps --force-reinstall \
		--config-settings=build-dir=build-wheel-asan --config-settings=setup-args=-Db_lundef=false \
		--config-settings=setup-args=-Db_sanitize=address,undefined .
	@touch $@

# Debian's packages for Arm, unpacked: what is compiled against, and what qemu runs it on.
build-sysroot-aarch64/.ready: hack/sysroot hack/need
	@hack/need arm
	$(QUIET) 'unpacking packages for Arm' hack/sysroot arm64 $(@D) \
		libc6-dev libfuse3-dev libcmocka-dev libstdc++6 python3
	@touch $@

# A kernel for Arm, and what it runs C tests with.
build-machine-aarch64/.ready: hack/sysroot hack/need
	@hack/need arm machine
	$(QUIET) 'unpacking a kernel for Arm' hack/sysroot arm64 $(@D) \
		linux-image-arm64 busybox-static fuse3 libfuse3-3 libcmocka0
	@touch $@

build-aarch64/build.ninja: | $(VENV)/.ready build-sysroot-aarch64/.ready
	$(QUIET) 'configuring build-aarch64' $(MESON) setup build-aarch64 --cross-file hack/aarch64.ini -Dwerror=true \
		-Dtests=enabled -Dpython=disabled

# Of the stable ABI, so that any Python's headers will do: those of this machine's.
build-dist-aarch64/.ready: $(VENV)/.ready $(PACKAGE_SOURCES) hack/aarch64.ini | build-sysroot-aarch64/.ready
	@rm -rf $(@D) && mkdir $(@D)
	$(QUIET) 'wheel for Arm' env _PYTHON_HOST_PLATFORM=linux-aarch64 $(PY) -m build --no-isolation --wheel --outdir $(@D) \
		-Csetup-args=--cross-file=$(CURDIR)/hack/aarch64.ini -Cbuild-dir=build-wheel-aarch64
	@touch $@

# Where Python for Arm imports from.
ARM_PIP = $(PY) -m pip install -q --target $(@D) --only-binary=:all: --platform linux_aarch64 --platform manylinux2014_aarch64 \
	--platform manylinux_2_28_aarch64 --python-version "$$($(ARM_PYTHON) -c 'import platform; print(platform.python_version())')"
build-site-aarch64/.ready: requirements-arm.txt build-dist-aarch64/.ready
	@rm -rf $(@D)
	$(QUIET) 'installing what the tests for Arm import' $(ARM_PIP) -r requirements-arm.txt
	$(QUIET) 'installing the wheel for Arm' $(ARM_PIP) --no-deps --no-index --upgrade build-dist-aarch64/*.whl
	@touch $@

build/build.ninja: | $(VENV)/.ready
	@hack/need test
	$(QUIET) 'configuring build' $(MESON) setup build -Dwerror=true -Dtests=enabled

build-asan/build.ninja: | $(VENV)/.ready
	@hack/need test
	$(QUIET) 'configuring build-asan' $(MESON) setup build-asan -Dwerror=true -Dtests=enabled -Dpython=disabled \
		-Db_sanitize=address,undefined -Db_lundef=false

build-fuzz/build.ninja: | $(VENV)/.ready
	@hack/need fuzz
	$(QUIET) 'configuring build-fuzz' env CC=clang $(MESON) setup build-fuzz -Dwerror=true -Dfuzz=true -Dtests=disabled \
		-Dpython=disabled -Db_sanitize=address,undefined -Db_lundef=false

build-tsan/build.ninja: | $(VENV)/.ready
	@hack/need test
	$(QUIET) 'configuring build-tsan' $(MESON) setup build-tsan -Dwerror=true -Dtests=enabled -Dpython=disabled \
		-Db_sanitize=thread -Db_lundef=false
