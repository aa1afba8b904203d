# The developer's and the new user's interface; `make help` lists it.
PYTHON ?= python3
VENV := .venv
PLONE := .venv-plone
ZENWEBSERVER := $(VENV)/bin/zenwebserver
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
LOCK := uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.PHONY: help install run stop test test-fast test-plone bench-warm check format lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

install: $(VENV)/.installed ## .venv/bin/zenwebserver, with Zope, ZEO and nginx

run: install ## make a home, start storage, two Zope servers and nginx
	@$(ZENWEBSERVER) init --quiet --set httpAddress=127.0.0.1
	@$(ZENWEBSERVER) start -v
	@echo "Next: manage it at the address above with /manage behind it, or type"
	@echo "  $(ZENWEBSERVER) status -v     how it is"
	@echo "  $(ZENWEBSERVER) deploy +1     one more server"
	@echo "  $(ZENWEBSERVER) help          all commands"
	@echo "  make stop"

stop: install ## stop what `make run` started
	@$(ZENWEBSERVER) stop

test: $(VENV)/.installed-dev ## every test, the system tests included
	$(VENV)/bin/python -m pytest -n 4 --dist loadfile

test-fast: $(VENV)/.installed-dev ## the tests that start no process of Zope, ZEO or nginx: under a minute
	$(VENV)/bin/python -m pytest -m "not real"

test-plone: $(VENV)/.installed-dev $(PLONE)/.installed ## a real Plone site, served warm
	$(VENV)/bin/python -m pytest tests/plone

bench-warm: $(VENV)/.installed-dev $(PLONE)/.installed ## measure warm servers beside ordinary ones: docs/benchmarks.md
	PYTHONPATH=tests/system $(VENV)/bin/python -m bench.warm $(SERVERS)

check: $(VENV)/.installed-dev ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/vermin --quiet --no-tips --violations --target=3.9- src/zenwebserver/worker

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: ## pin the newest versions anew (needs uv)
	$(LOCK) --extra site --group build pyproject.toml -o requirements.lock
	$(LOCK) --extra site --group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(LOCK) --group pyproject.toml:plone -o requirements-plone.lock

clean: ## remove .venv and caches; homes are never touched
	rm -rf $(VENV) $(PLONE) build dist .mypy_cache .ruff_cache .pytest_cache src/*.egg-info

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(VENV)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(VENV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

$(PLONE)/.installed: requirements-plone.lock
	@echo "Installing Plone into $(PLONE) ..."
	@$(PYTHON) -m venv $(PLONE)
	@$(PLONE)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-plone.lock
	@touch $@
