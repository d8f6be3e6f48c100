# SPDX-License-Identifier: GPL-2.0-only
# A thin front: tools/setup installs what packages.txt lists, Meson and Ninja build.
# BUILD=DIR builds elsewhere, DESTDIR= and PREFIX= place the installation, JOBS=N limits Ninja.

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
NINJA = ninja -C $(BUILD) -j $(JOBS)
SOURCES = git ls-files '*.c' '*.h'

.PHONY: all setup demo test model bench lab bench-lab soak format coverage install clean

all: setup
	$(NINJA)

setup:
	@tools/setup
	@test -f $(BUILD)/build.ninja || meson setup --prefix $(PREFIX) $(BUILD)

demo: all
	@tools/bench demo $(BUILD)

test: all
	@tests/run --build $(BUILD) $(TIERS)

# The ordering of both sides, exhaustively; its broken variants must be caught.
model: setup
	spec/model/run

bench: all
	@tools/bench bench $(BUILD)

lab: all
	lab/run --build $(BUILD) --tier long

# The bench's cells on a clock that counts instructions, held to lab/record.json.
bench-lab: all
	lab/run --build $(BUILD) --deterministic --check

# The long forms of the tests: hours. A line for each kind.
soak: all
	@status=0; tests/run --build $(BUILD) --soak unit native || status=1; \
	spec/model/run || status=1; \
	PVSCHED_BUILD=$(abspath $(BUILD)) tests/fuzz/survive --seconds 3600 || status=1; \
	lab/run --build $(BUILD) --tier soak || status=1; \
	exit $$status

format:
	$(SOURCES) | xargs clang-format-14 -i

coverage: setup
	tests/spec/coverage.sh

install: all
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-coverage
