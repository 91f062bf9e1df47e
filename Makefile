# SPDX-License-Identifier: Apache-2.0
# Every target does its own set-up: Debian packages (as root or with sudo), .venv, compiled parts.

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
C_SOURCES := $(wildcard cpxd/*.c cpxd/*.h cpxd/_apdu_build.py simulator/driver/*.c simulator/driver/*.h simulator/galss/*.c simulator/galss/*.h simulator/usb/*.c cpxd/pkcs11/module/*.c cpxd/pkcs11/module/*.h cpxd/pkcs11/module/*.map)
PYTHON_OWN := cpxd simulator tests bench tools clients setup.py
C_OWN := $(filter %.c,$(C_SOURCES))
C_WARNINGS := -std=c11 -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wundef -Wstrict-prototypes -Werror -pedantic

.PHONY: run test check bench conformance soak fuzz asan install uninstall build packages test-packages fuzz-packages clean
.DELETE_ON_ERROR:

run: build ## a card médecin in a private pcscd: its identity, a signature verified by OpenSSL
	@tools/demo.sh

test: build test-packages ## two at a time, a file of tests by one of them: most of their time is waiting
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: build
	$(BIN)/ruff check $(PYTHON_OWN)
	$(BIN)/ruff format --check $(PYTHON_OWN)
	$(BIN)/mypy
	set -e; for f in $(C_OWN); do gcc $(C_WARNINGS) -I/usr/include/PCSC -Icpxd -fsyntax-only $$f; done
	$(BIN)/python -m pytest tests/unit/test_layers.py
	$(BIN)/python -m pytest --collect-only -qq tests >build/collected || { cat build/collected; exit 1; } # each test can be imported

bench: build test-packages
	$(BIN)/python bench/run.py
	$(BIN)/python bench/latency.py
	$(BIN)/python bench/desk.py
	$(BIN)/python bench/revocation.py
	$(BIN)/python bench/pkcs11.py
	$(BIN)/python bench/signatures.py
	$(BIN)/python bench/api.py

conformance: build test-packages ## pkcs11-check over the module, both cards; MODELS=softhsm2: beside SoftHSM2 directly
	$(BIN)/python tools/conformance.py $(MODELS)

soak: build test-packages ## faults, then a model checker, each for SOAK_SECONDS (600); SOAK_CYCLES (10,000) times in and out, SOAK_SWAPS (500) swaps before each browser: 70 minutes
	$(BIN)/python bench/soak.py
	$(BIN)/python bench/soak_model.py
	$(BIN)/python bench/cycles.py
	CPX_TOKENS=$(or $(SOAK_TOKENS),100000) $(BIN)/python -m pytest tests/api/test_api_tokens.py -s
	CPX_SWAPS=$(or $(SOAK_SWAPS),500) $(BIN)/python -m pytest tests/browsers/test_browsers_swap.py -s

fuzz: build test-packages fuzz-packages ## C targets for SECONDS_TOTAL (60) each, then every property test once with examples never tried before
	fuzz/run.sh $(or $(SECONDS_TOTAL),60)
	fuzz/pkcs11/run.sh $(or $(SECONDS_TOTAL),60)
	seed=$(or $(SEED),$$RANDOM); echo "SEED=$$seed"; $(BIN)/python -m pytest -m hypothesis --hypothesis-seed=$$seed

asan: build fuzz-packages
	fuzz/run_asan.sh

install uninstall: ## as root for all users under /usr/local, else for you under ~/.local: program, user units, p11-kit module file
	@[ $@ = uninstall ] || tools/packages.sh run
	@tools/install.sh $(if $(filter install,$@),install,remove)

build: packages $(VENV)/.built

packages:
	@tools/packages.sh run

test-packages:
	@tools/packages.sh test

fuzz-packages:
	@tools/packages.sh fuzz

$(VENV)/.installed: pyproject.toml | packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check 'setuptools>=77.0.3,<85' wheel 'cffi>=1.16,<3'
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

$(VENV)/.built: $(VENV)/.installed setup.py $(C_SOURCES)
	$(BIN)/python setup.py -q build_ext --inplace
	touch $@

clean:
	rm -rf build $(VENV) *.egg-info cpxd/_apdu_ffi.* cpxd/*.so simulator/driver/*.so simulator/galss/*.so simulator/usb/*.so cpxd/pkcs11/module/*.so
