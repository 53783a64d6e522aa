# The one door for people and for CI. `make test` installs what is missing, then runs everything.
#
# Wanted beforehand: Rust (rustup), Node 20 or newer, Python 3. Everything else is fetched here: system
# packages by apt-get, tools into target/, so that nothing is left outside of the repository but those.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO_DENY_VERSION := 0.20.2
TOOLS := $(CURDIR)/target/tools
VENV := $(CURDIR)/target/venv
# The first and the last that the helper is for, each in an environment of its own.
DJANGOS := 4.2 5.2
DJANGO := $(CURDIR)/target/django
RUFF := $(DJANGO)-5.2/bin/ruff
SHOP := examples/django-shop
SHOP_VENV := $(CURDIR)/target/shop-venv

# Program and the Debian package that has it. cc: aws-lc, the cryptography, is C.
PROGRAMS := cc:gcc chromium:chromium redis-server:redis-server git:git

# nginx is where only root's PATH looks.
export PATH := $(VENV)/bin:$(PATH):/usr/sbin
export CARGO_TERM_COLOR ?= always

# $(call step,words,command): says what runs, and how long it took.
define step
	@printf '\n\033[1m== %s\033[0m\n' '$(1)'; start=$$SECONDS; \
	$(2); \
	printf '\033[1m== %s: %d s\033[0m\n' '$(1)' $$((SECONDS - start))
endef

.PHONY: help
help:
	@echo 'make test     install what is missing, then all checks and tests, as CI does'
	@echo 'make fmt      format the code'
	@echo 'make run      a gateway to try: groupcast dev'
	@echo 'make demo     a shop with all its parts, in the browser; options: make demo DEMO=--help'
	@echo 'make install  only install what is missing'
	@echo 'make chaos    kill and stop instances for CHAOS_SECONDS (300), as no test has the time to'
	@echo 'one part:     format lint licences docs rust api django client browser demo-test'

.PHONY: test
test:
	@start=$$SECONDS; \
	for part in install format lint licences docs rust api django client browser; do $(MAKE) $$part; done; \
	printf '\n\033[1m== all of it: %d s\033[0m\n' $$((SECONDS - start))

.PHONY: run
run:
	cargo run --release --locked -- dev

.PHONY: fmt
fmt:
	cargo fmt --all

# ===== what is missing =====

.PHONY: install
install: versions packages components $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION) $(VENV)/ready $(DJANGOS:%=$(DJANGO)-%/ready) client-js/node_modules/.package-lock.json

.PHONY: versions
versions:
	@for program in cargo node npm python3; do \
		command -v $$program > /dev/null || { echo "$$program is needed and not there" >&2; exit 1; }; \
	done
	@major=$$(node --version | sed 's/^v\([0-9]*\).*/\1/'); \
	[ "$$major" -ge 20 ] || { echo "Node $$major is too old; 20 or newer is needed" >&2; exit 1; }

.PHONY: packages
packages:
	@missing=(); \
	for pair in $(PROGRAMS); do \
		command -v $${pair%%:*} > /dev/null || missing+=($${pair##*:}); \
	done; \
	python3 -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv); \
	[ $${#missing[@]} -gt 0 ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then as_root=; \
	elif command -v sudo > /dev/null; then as_root=sudo; \
	else echo "missing: $${missing[*]}; neither root nor sudo to install them" >&2; exit 1; fi; \
	echo "== installing $${missing[*]}"; \
	$$as_root apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends $${missing[*]}

.PHONY: components
components:
	@cargo fmt --version > /dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version > /dev/null 2>&1 || rustup component add clippy

$(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION):
	$(call step,cargo-deny $(CARGO_DENY_VERSION),cargo install cargo-deny --locked --quiet \
		--version $(CARGO_DENY_VERSION) --root $(TOOLS) --target-dir $(TOOLS)/build)
	@rm -rf $(TOOLS)/build
	@touch $@

# One environment: what examines the API, and Django's libraries for the tests of the channel layers.
$(VENV)/ready: tests/schemathesis/requirements.txt tests/python/requirements.txt
	$(call step,python packages,python3 -m venv $(VENV) && $(VENV)/bin/pip install --quiet \
		--disable-pip-version-check $(addprefix --requirement ,$^))
	@touch $@

$(DJANGO)-%/ready: tests/django/requirements-%.txt tests/django/requirements.txt
	$(call step,Django $*,python3 -m venv $(@D) && $(@D)/bin/pip install --quiet \
		--disable-pip-version-check --requirement $<)
	@touch $@

client-js/node_modules/.package-lock.json: client-js/package-lock.json
	$(call step,node packages,cd client-js && npm ci --no-fund --no-audit)
	@touch $@

# ===== the checks =====

.PHONY: format
format:
	$(call step,format,cargo fmt --all --check)

.PHONY: lint
lint:
	$(call step,lint,cargo clippy --workspace --all-targets --locked -- -D warnings)

.PHONY: licences
licences: $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION)
	$(call step,licences and duplicates,$(TOOLS)/bin/cargo-deny --workspace --locked \
		check --hide-inclusion-graph bans licenses sources)

.PHONY: docs
docs:
	$(call step,docs,RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet)

.PHONY: rust
rust: $(VENV)/ready
	$(call step,rust tests,cargo test --workspace --locked)

# Instances are killed and stopped at random and at every failpoint, for long: not part of `make test`,
# which has the short form. A failure prints CHAOS_SEED; given again, it takes the same decisions.
export CHAOS_SECONDS ?= 300

.PHONY: chaos
chaos: $(VENV)/ready
	$(call step,chaos for $(CHAOS_SECONDS) s,cargo test --locked --test main -- \
		--ignored --exact --nocapture chaos::for_long)

# The running API, held against its own description.
.PHONY: api
api: $(VENV)/ready
	$(call step,gateway for the API,cargo build --locked)
	$(call step,API tests,$(VENV)/bin/python tests/schemathesis/run.py)

# The helper that `groupcast init django` writes, in real projects and beside a real gateway.
.PHONY: django
django: $(DJANGOS:%=$(DJANGO)-%/ready)
	$(call step,gateway for Django,cargo build --locked)
	$(call step,Python style,cd tests/django; $(RUFF) check --quiet --no-cache . ../../src/cmd/init; \
		$(RUFF) format --quiet --no-cache --check . ../../src/cmd/init)
	@for version in $(DJANGOS); do $(MAKE) django-$$version; done

.PHONY: $(DJANGOS:%=django-%)
$(DJANGOS:%=django-%): django-%: $(DJANGO)-%/ready
	$(call step,Django $* tests,cd tests/django && PYTHONDONTWRITEBYTECODE=1 \
		$(DJANGO)-$*/bin/python -m pytest --quiet)

.PHONY: client
client: client-js/node_modules/.package-lock.json
	$(call step,client build,cd client-js && npm run build)
	$(call step,client tests,cd client-js && npm test)

# Against the debug build, in a real browser.
.PHONY: browser
browser: client-js/node_modules/.package-lock.json
	$(call step,gateway for the browser,cargo build --locked)
	$(call step,browser tests,cd client-js && npm run test:browser)

# ===== the shop: examples/django-shop =====

# What demo.py is given: DEMO='--broker rabbitmq', DEMO=--with-daphne. GROUPCAST_BIN names another gateway.
DEMO ?=
GROUPCAST_BIN ?=

.PHONY: shop
shop: $(SHOP_VENV)/ready
	@$(MAKE) packages PROGRAMS='redis-server:redis-server nginx:nginx $(if $(findstring rabbitmq,$(DEMO)),rabbitmq-server:rabbitmq-server)'

# Until Ctrl-C.
.PHONY: demo
demo: shop
	$(if $(GROUPCAST_BIN),,cargo build --release --locked)
	@$(SHOP_VENV)/bin/python $(SHOP)/demo.py $(if $(GROUPCAST_BIN),--gateway $(GROUPCAST_BIN)) $(DEMO)

# The shop against the debug build, in a real browser; screenshots go to target/screenshots/shop.
.PHONY: demo-test
demo-test: shop client-js/node_modules/.package-lock.json
	$(call step,gateway for the shop,cargo build --locked)
	$(call step,shop tests,SHOP_PYTHON=$(SHOP_VENV)/bin/python SHOP_OPTIONS='$(DEMO)' node --test --test-concurrency=1 \
		--test-reporter=spec $(SHOP)/test/*.test.mjs)

# What a restart of a gateway with 2,000 browsers asks of the site.
.PHONY: demo-herd
demo-herd: shop
	$(if $(GROUPCAST_BIN),,cargo build --release --locked)
	@$(SHOP_VENV)/bin/python $(SHOP)/test/herd.py $(if $(GROUPCAST_BIN),--gateway $(GROUPCAST_BIN))

# What the README shows, from the tests' screenshots.
.PHONY: demo-screenshots
demo-screenshots: demo-test
	@$(SHOP_VENV)/bin/python $(SHOP)/test/screenshots.py

$(SHOP_VENV)/ready: $(SHOP)/requirements.txt $(SHOP)/antes/requirements.txt
	$(call step,python packages of the shop,python3 -m venv $(SHOP_VENV) && $(SHOP_VENV)/bin/pip install \
		--quiet --disable-pip-version-check --requirement $(SHOP)/antes/requirements.txt)
	@touch $@
