# SPDX-License-Identifier: MIT
# Spillway's build. `make help` lists what it can do.

# What a Debian machine needs beside a C compiler, make and git. The only place.
PACKAGES_BUILD := libc6-dev pkg-config libnuma-dev liburing-dev libxxhash-dev liblz4-dev libzstd-dev
PACKAGES_CHECK := libcriterion-dev libseccomp-dev g++ e2fsprogs util-linux strace procps
PACKAGES_CI := valgrind clang clang-format
# What clang needs to link fuzzers: `make fuzz` says so where that cannot be had.
PACKAGES_FUZZ := clang libclang-rt-dev
# What `make deb` needs, and a look at what it made.
PACKAGES_DEB := debhelper dpkg-dev fakeroot lintian systemtap-sdt-dev
# For plots, and to stand beside: `make bench` goes on without what cannot be had, and says so.
PACKAGES_BENCH := gnuplot-nox mbuffer strace linux-perf valgrind

# --- what a user may override --------------------------------------------------------------------
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DATADIR ?= $(PREFIX)/share
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
COMPLETIONDIR ?= $(DATADIR)/bash-completion/completions
CXX ?= c++
OBJCOPY ?= objcopy
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
# Only optimisation and debugging; warnings, language and defines are added below.
CFLAGS ?= -O2 -g
LDFLAGS ?=
# Warnings are errors in a git checkout, not for someone who builds a release with a newer compiler.
WERROR ?= $(if $(wildcard .git),1,0)
# How many test binaries run at once.
JOBS ?= 2
# The share, in percent, of their usual length that long random tests run for.
SPILLWAY_TEST_SCALE ?= 100
# How long each part of check-soak takes, in seconds.
SOAK_S ?= 20
# How long each fuzzer runs, in seconds.
FUZZ_S ?= 10
# For a sanitizer build: the list given to -fsanitize. PLAIN=1 builds tests without Criterion.
SANITIZE ?=
PLAIN ?= 0
# What a test binary runs under, such as valgrind and its options.
RUNNER ?=

# --- version: the header says it, nobody else ----------------------------------------------------
version_part = $(shell sed -n 's/^\#define SPILLWAY_VERSION_$(1) //p' lib/include/spillway/version.h)
MAJOR := $(call version_part,MAJOR)
VERSION := $(MAJOR).$(call version_part,MINOR).$(call version_part,PATCH)
SONAME := libspillway.so.$(MAJOR)
SHARED := libspillway.so.$(VERSION)

# --- optional libraries, looked for unless told ---------------------------------------------------
# `make check` and `make demo` install packages first and then start make again, so that what is
# found here is what is there.
pkg = $(shell $(PKG_CONFIG) $(1) $(2) 2>/dev/null)
EXT_CFLAGS := $(foreach p,liburing numa libxxhash liblz4 libzstd,$(call pkg,--cflags,$(p)))
has = $(shell printf '\043include <%s>\n' $(1) | $(CC) $(EXT_CFLAGS) -E -x c - >/dev/null 2>&1 && echo 1 || echo 0)
WITH_URING ?= $(call has,liburing.h)
WITH_NUMA ?= $(call has,numaif.h)
WITH_LZ4 ?= $(call has,lz4.h)
WITH_ZSTD ?= $(call has,zstd.h)
# Static probes for tracers: Debian's systemtap-sdt-dev.
WITH_SDT ?= $(call has,sys/sdt.h)
HAVE_URING := $(WITH_URING)
HAVE_NUMA := $(WITH_NUMA)
HAVE_LZ4 := $(WITH_LZ4)
HAVE_ZSTD := $(WITH_ZSTD)
URING_LIBS := $(if $(filter 1,$(HAVE_URING)),$(or $(strip $(call pkg,--libs,liburing)),-luring))
NUMA_LIBS := $(if $(filter 1,$(HAVE_NUMA)),$(or $(strip $(call pkg,--libs,numa)),-lnuma))
LZ4_LIBS := $(if $(filter 1,$(HAVE_LZ4)),$(or $(strip $(call pkg,--libs,liblz4)),-llz4))
ZSTD_LIBS := $(if $(filter 1,$(HAVE_ZSTD)),$(or $(strip $(call pkg,--libs,libzstd)),-lzstd))
LIBS := $(strip $(URING_LIBS) $(NUMA_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) -lpthread)

# --- flags ---------------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wconversion -Wundef -Wstrict-prototypes -Wmissing-prototypes \
	$(if $(filter 1,$(WERROR)),-Werror)
DEFINES := -D_GNU_SOURCE -DSPILLWAY_HAVE_URING=$(HAVE_URING) -DSPILLWAY_HAVE_NUMA=$(HAVE_NUMA) \
	-DSPILLWAY_HAVE_LZ4=$(HAVE_LZ4) -DSPILLWAY_HAVE_ZSTD=$(HAVE_ZSTD) -DSPILLWAY_HAVE_SDT=$(WITH_SDT)
SANITIZE_FLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer \
	$(if $(findstring undefined,$(SANITIZE)),-fno-sanitize-recover=undefined))
COMMON := -std=gnu11 $(WARNINGS) $(DEFINES) -Ilib/include $(EXT_CFLAGS) $(SANITIZE_FLAGS)
LIB_CFLAGS = $(COMMON) -fvisibility=hidden $(CPPFLAGS) $(CFLAGS)
TEST_CFLAGS = $(COMMON) $(if $(filter 1,$(PLAIN)),-DTEST_PLAIN) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) $(SANITIZE_FLAGS) $(CFLAGS) $(LDFLAGS)

# --- what there is to build ----------------------------------------------------------------------
HEADERS := $(wildcard lib/include/spillway/*.h)
LIB_SOURCES := $(sort $(wildcard lib/*.c pool/*.c policies/*.c))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
PIC_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/pic/%.o)
INTERNAL := $(BUILD)/libspillway-internal.a

# tools/NAME.c is a program; tools/NAME_part.c and tools/NAME/*.c are parts of it, tools/common/*.c of
# each. mkman serves the build only, and knows the tables of spillbench and poolstat.
TOOL_NAMES := $(foreach s,$(sort $(wildcard tools/*.c)),$(if $(findstring _,$(notdir $(s))),,$(basename $(notdir $(s)))))
TOOLS := $(addprefix $(BUILD)/,$(filter-out mkman,$(TOOL_NAMES)))
MAN_SOURCES := $(wildcard tools/*.1.in lib/*.7.in)
MAN_PAGES := $(addprefix $(BUILD)/man/,$(basename $(notdir $(MAN_SOURCES))))
COMPLETIONS := $(patsubst tools/%.1.in,$(BUILD)/completion/%,$(wildcard tools/*.1.in))

# A page of section 3 for each public header that has functions, and a name for each of these that
# leads there.
MAN3_TITLE_bytes := slices of memory, and slabs to cut them from
MAN3_TITLE_chunks := entries of a queue, and what runs are made of
MAN3_TITLE_coder := codes of one's own for runs
MAN3_TITLE_errors := classes of errors
MAN3_TITLE_governor := decisions over all queues
MAN3_TITLE_log := where messages go
MAN3_TITLE_mock := a strategy for tests
MAN3_TITLE_options := settings
MAN3_TITLE_policies := the policies that are there
MAN3_TITLE_policy := policies of one's own
MAN3_TITLE_pool := budget, tiers and I/O
MAN3_TITLE_queue := queues, their writers and readers
MAN3_TITLE_stats := what a pool counts
MAN3_TITLE_strategy := where bytes go
MAN3_TITLE_version := the library's version
MAN3_GROUPS := $(patsubst lib/include/spillway/%.h,%,$(shell grep -l '^SPILLWAY_API' $(HEADERS)))
functions_of = $(shell awk -F '\050' '/^SPILLWAY_API/ { n = split($$1, w, /[ *]/); print w[n] }' lib/include/spillway/$(1).h)
MAN3_PAGES := $(MAN3_GROUPS:%=$(BUILD)/man/spw_%.3)
MAN3_NAMES := $(foreach g,$(MAN3_GROUPS),$(filter-out spw_$(g),$(call functions_of,$(g))))

# tests/test_NAME.c is a suite of its own, every other tests/*.c is linked to all of them; plain.c
# stands in for Criterion. tests/prog/NAME.c is a program that a script test uses.
VARIANT := $(if $(filter 1,$(PLAIN)),plain,tests)
SUITE_SOURCES := $(sort $(wildcard tests/test_*.c))
HELPER_SOURCES := $(filter-out $(SUITE_SOURCES) $(if $(filter 1,$(PLAIN)),,tests/plain.c),\
	$(sort $(wildcard tests/*.c)))
HELPERS := $(HELPER_SOURCES:tests/%.c=$(BUILD)/$(VARIANT)/%.o)
SUITES := $(SUITE_SOURCES:tests/%.c=$(BUILD)/$(VARIANT)/%)
PROGS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/prog/*.c)))
HARNESS_LIBS := $(if $(filter 1,$(PLAIN)),,-lcriterion)

# --- quiet unless V=1 ----------------------------------------------------------------------------
ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '%-8s %s\n' $(1) $(2)
endif

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all
.PHONY: FORCE

all: ## libraries, tools, man pages
all: $(INTERNAL) $(BUILD)/libspillway.a $(BUILD)/libspillway.so $(TOOLS) $(MAN_PAGES) \
	$(MAN3_PAGES) $(COMPLETIONS) \
	$(BUILD)/spillway.pc

# --- objects -------------------------------------------------------------------------------------
# Changes only when the compiler or a flag changes; every object depends on it.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@if [ "$(call has,xxhash.h)" = 0 ]; then \
	    echo "xxhash.h is missing: run 'make deps', or install $(PACKAGES_BUILD)" >&2; exit 1; fi
	@echo '$(LINK) $(LIB_CFLAGS) $(LIBS)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Checksums in wider registers: asked for before they are used (pool/checksum_wide.h).
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null)),)
$(BUILD)/obj/pool/checksum_wide.o $(BUILD)/pic/pool/checksum_wide.o: private LIB_CFLAGS += -mavx2
endif

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(LIB_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/pic/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,'$< (PIC)')
	$(Q)$(CC) $(LIB_CFLAGS) -fPIC -MMD -MP -c -o $@ $<

$(BUILD)/tests/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/plain/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,'$< (plain)')
	$(Q)$(CC) $(TEST_CFLAGS) -MMD -MP -c -o $@ $<

# --- libraries -----------------------------------------------------------------------------------
# A list that loses a member must rebuild the archive, so the list itself is a file.
$(BUILD)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJECTS)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Every object with its internal names, for tests and tools.
$(INTERNAL): $(LIB_OBJECTS) $(BUILD)/objects
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(LIB_OBJECTS)

# What is installed: one object whose hidden names are local, so nothing internal leaks.
$(BUILD)/libspillway.a: $(LIB_OBJECTS) $(BUILD)/objects
	$(call say,AR,$@)
	$(Q)$(CC) -nostdlib -r -o $(BUILD)/spillway.o $(LIB_OBJECTS)
	$(Q)$(OBJCOPY) --localize-hidden $(BUILD)/spillway.o
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(BUILD)/spillway.o

$(BUILD)/$(SHARED): $(PIC_OBJECTS) $(BUILD)/objects lib/spillway.map
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=lib/spillway.map \
	    -Wl,-z,defs -Wl,--as-needed -o $@ $(PIC_OBJECTS) $(LIBS)

$(BUILD)/libspillway.so: $(BUILD)/$(SHARED)
	$(Q)ln -sf $(SHARED) $(BUILD)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

# --- tools and man pages -------------------------------------------------------------------------
COMMON_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tools/common/*.c)))
BENCH_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tools/spillbench/*.c)))
PIPE_OBJECTS := $(BUILD)/obj/tools/spillpipe_options.o
STAT_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tools/poolstat/*.c)))
define tool_rule
$$(BUILD)/$(1): $$(BUILD)/obj/tools/$(1).o $$(patsubst %.c,$$(BUILD)/obj/%.o,$$(sort $$(wildcard tools/$(1)_*.c tools/$(1)/*.c))) \
	$$(COMMON_OBJECTS) $$(if $$(filter mkman,$(1)),$$(BENCH_OBJECTS) $$(STAT_OBJECTS) $$(PIPE_OBJECTS)) $$(INTERNAL)
	$$(call say,LINK,$$@)
	$$(Q)$$(LINK) -o $$@ $$^ $$(LIBS)
endef
$(foreach t,$(TOOL_NAMES),$(eval $(call tool_rule,$(t))))

$(BUILD)/man/%: tools/%.in $(BUILD)/mkman
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)$(BUILD)/mkman man $(VERSION) <$< >$@

$(BUILD)/man/%: lib/%.in $(BUILD)/mkman
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)$(BUILD)/mkman man $(VERSION) <$< >$@

$(BUILD)/man/spillway.7: tests/external/policy.c

$(MAN3_PAGES): $(BUILD)/man/spw_%.3: lib/include/spillway/%.h tools/man3.awk
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(if $(MAN3_TITLE_$*),,$(error $<: MAN3_TITLE_$* is missing in the Makefile))
	$(Q)awk -v group=$* -v version=$(VERSION) -v title="$(MAN3_TITLE_$*)" -f tools/man3.awk $< >$@

$(BUILD)/completion/%: $(BUILD)/mkman
	@mkdir -p $(@D)
	$(Q)$(BUILD)/mkman completion $* >$@

# --- pkg-config ----------------------------------------------------------------------------------
# Paths below the prefix are written relative to it, so that a moved tree can be described too.
REQUIRES_PRIVATE := $(if $(filter 1,$(HAVE_URING)),liburing) $(if $(filter 1,$(HAVE_NUMA)),numa) \
	$(if $(filter 1,$(HAVE_LZ4)),liblz4) $(if $(filter 1,$(HAVE_ZSTD)),libzstd)
$(BUILD)/spillway.pc: lib/spillway.pc.in $(BUILD)/install-paths
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' \
	    -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
	    -e 's|@INCLUDEDIR@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' \
	    -e 's|@VERSION@|$(VERSION)|' -e 's|@REQUIRES_PRIVATE@|$(strip $(REQUIRES_PRIVATE))|' $< >$@

$(BUILD)/install-paths: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX) $(LIBDIR) $(INCLUDEDIR) $(VERSION) $(REQUIRES_PRIVATE)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# --- tests ---------------------------------------------------------------------------------------
# What suites may use of the tools.
TOOL_PARTS := $(BUILD)/tool-parts.a
$(TOOL_PARTS): $(BENCH_OBJECTS) $(STAT_OBJECTS) $(COMMON_OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(SUITES): $(BUILD)/$(VARIANT)/%: $(BUILD)/$(VARIANT)/%.o $(HELPERS) $(TOOL_PARTS) $(INTERNAL)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $< $(HELPERS) $(TOOL_PARTS) $(INTERNAL) $(HARNESS_LIBS) $(LIBS)

$(PROGS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(INTERNAL)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $< $(INTERNAL) $(LIBS)

.PHONY: tests
tests: $(SUITES) $(if $(filter 1,$(PLAIN)),,$(PROGS)) ## build the test binaries

SCRIPTS := $(if $(filter 1,$(PLAIN)),,$(sort $(wildcard tests/check_*.sh tests/sys_*.sh)))
RUN_TESTS = BUILD='$(BUILD)' CC='$(CC)' JOBS='$(JOBS)' RUNNER='$(RUNNER)' TESTS='$(TESTS)' \
	SPILLWAY_TEST_SCALE='$(SPILLWAY_TEST_SCALE)' bash tests/run.sh

.PHONY: check check-run check-asan check-tsan check-soak soak-run check-valgrind
check: deps ## install what is missing, build, run every test (TESTS="queue pool": only those)
	@+$(AGAIN) check-run

check-run: tests $(if $(filter 1,$(PLAIN)),,all $(if $(wildcard README.md),$(BUILD)/mkman)) ## the same without installing anything
	@$(RUN_TESTS) $(SUITES) -- $(SCRIPTS)

# Criterion passes a test whose process leaks, and cannot run under ThreadSanitizer at all: these
# three use the plain runner, where each test's exit code counts. SPILLWAY_TEST_UNDER tells a test
# where it runs, for what cannot work there (valgrind does not know mlock2(2), for one).
check-asan: deps ## the suites with AddressSanitizer, leaks included, and UBSan
	@+ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
	    SPILLWAY_TEST_SCALE=50 SPILLWAY_TEST_UNDER=address \
	    $(AGAIN) BUILD=$(BUILD)/asan SANITIZE=address,undefined PLAIN=1 CFLAGS='-O1 -g' check-run

TSAN := suppressions=tests/tsan.supp:print_suppressions=0:second_deadlock_stack=1:die_after_fork=0
check-tsan: deps ## the suites with ThreadSanitizer
	@+TSAN_OPTIONS='$(TSAN)' SPILLWAY_TEST_SCALE=10 \
	    SPILLWAY_TEST_UNDER=thread TEST_LIMIT_S=900 \
	    $(AGAIN) BUILD=$(BUILD)/tsan SANITIZE=thread PLAIN=1 CFLAGS='-O1 -g' check-run

check-soak: deps ## writer and reader at full speed for SOAK_S=20 seconds over each tier, with ThreadSanitizer
	@+TSAN_OPTIONS='$(TSAN)' \
	    $(AGAIN) BUILD=$(BUILD)/tsan SANITIZE=thread CFLAGS='-O1 -g' soak-run

soak-run: $(BUILD)/tests/prog/soak
	@BUILD='$(BUILD)' SOAK_S='$(SOAK_S)' bash tests/soak.sh

check-valgrind: ## the suites under valgrind's memcheck
	@sh tests/deps.sh $(PACKAGES_BUILD) $(PACKAGES_CHECK) valgrind
	@+SPILLWAY_TEST_SCALE=10 SPILLWAY_TEST_UNDER=valgrind TEST_LIMIT_S=900 TEST_TIME_LIMIT_S=300 \
	    $(AGAIN) PLAIN=1 \
	    RUNNER='valgrind -q --leak-check=full --errors-for-leak-kinds=definite,possible --error-exitcode=99 --fair-sched=yes' \
	    check-run

# --- fuzzing -------------------------------------------------------------------------------------
# tests/fuzz/NAME.c hands inputs to tests/fuzz_NAME.c, which says what must hold for all of them; so
# does the suite test_NAME.c, with inputs of its own making, where there is no clang.
FUZZ_NAMES := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/*.c)))
FUZZERS := $(addprefix $(BUILD)/fuzz/,$(FUZZ_NAMES))
FUZZ_CLANG ?= clang
can_fuzz = echo 'int LLVMFuzzerTestOneInput(const char *, unsigned long);int \
    LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }' | \
    $(FUZZ_CLANG) -x c -fsanitize=fuzzer,address,undefined -o /dev/null - >/dev/null 2>&1

$(FUZZERS): $(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/tests/fuzz_%.o $(INTERNAL)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(TEST_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

.PHONY: fuzz fuzz-run
fuzz: ## what reads foreign text is fed with made-up text for FUZZ_S=10 seconds each (needs clang)
	@sh tests/deps.sh $(PACKAGES_BUILD)
	@$(can_fuzz) || sh tests/deps.sh $(PACKAGES_FUZZ) || true
	@+if $(can_fuzz); then \
	    $(AGAIN) BUILD=$(BUILD)/fuzz CC=$(FUZZ_CLANG) SANITIZE=address,undefined \
	        CFLAGS='-O1 -g -fsanitize=fuzzer-no-link' fuzz-run; \
	else echo "no $(FUZZ_CLANG) here that can link a fuzzer"; echo "0 passed, 0 failed, 1 skipped"; fi

fuzz-run: $(FUZZERS)
	@BUILD='$(BUILD)' FUZZ_S='$(FUZZ_S)' bash tests/fuzz.sh $(FUZZ_NAMES)

# --- packages, demo ------------------------------------------------------------------------------
# Once more, so that a package which was just installed is found.
AGAIN = $(MAKE) --no-print-directory

.PHONY: deps deps-ci demo
deps: ## install the packages that building and testing need
	@sh tests/deps.sh $(PACKAGES_BUILD) $(PACKAGES_CHECK)

deps-ci: ## those of check-valgrind and format too
	@sh tests/deps.sh $(PACKAGES_BUILD) $(PACKAGES_CHECK) $(PACKAGES_CI)

demo: ## install what is missing, build, watch 2 GB of files pass through 64 MiB
	@sh tests/deps.sh $(PACKAGES_BUILD)
	@+$(AGAIN) all
	@BUILD='$(BUILD)' bash tools/demo.sh

# --- bench ---------------------------------------------------------------------------------------
# QUICK=1: little data and few rounds, to see that it works. BENCH_OPTIONS: more for spillbench bars.
QUICK ?= 0
BENCH_OPTIONS ?=
BENCH := $(BUILD)/bench
BENCH_COMMIT = $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)

.PHONY: bench bench-run readme-bench
bench: ## install what is missing, build, measure all bars (QUICK=1: in a minute), report in build/bench
	@sh tests/deps.sh $(PACKAGES_BUILD)
	@sh tests/deps.sh $(PACKAGES_BENCH) || echo "bench: goes on without them"
	@+$(AGAIN) bench-run

bench-run: all
	@mkdir -p $(BENCH)
	@SPILLBENCH_COMMIT='$(BENCH_COMMIT)' $(BUILD)/spillbench bars $(if $(filter 1,$(QUICK)),--quick) \
	    --json $(BENCH)/report.json --plot $(BENCH)/report.svg --markdown $(BENCH)/report.md \
	    $(BENCH_OPTIONS) >$(BENCH)/report.txt; code=$$?; cat $(BENCH)/report.txt; exit $$code

.PHONY: bench-pressure
bench-pressure: all ## beside a hog in one memory cgroup, as root: the pressure policy, a fixed budget, swap (10 minutes)
	@mkdir -p $(BENCH)
	@$(BUILD)/spillbench pressure $(if $(filter 1,$(QUICK)),--total 2GiB --pairs 1,--pairs 3) \
	    --json $(BENCH)/pressure.json --plot $(BENCH)/pressure.svg $(BENCH_OPTIONS)

readme-bench: $(BENCH)/report.md ## write the results of the last make bench into README.md
	$(Q)awk -v table=$(BENCH)/report.md '/^<!-- end of bench/ { skip = 0 } !skip { print } \
	    /^<!-- bench:/ { skip = 1; while ((getline line < table) > 0) print line }' README.md \
	    >$(BUILD)/README.bench && cp $(BUILD)/README.bench README.md

$(BENCH)/report.md:
	@echo "run 'make bench' first" >&2; exit 1

# --- what pressure should be decided to do: tests/traces -----------------------------------------
.PHONY: traces
traces: $(BUILD)/$(VARIANT)/test_replay ## write the decisions on recorded pressure anew; look at the difference
	$(Q)SPILLWAY_TEST_WRITE_DECISIONS=1 $(BUILD)/$(VARIANT)/test_replay

# --- README: the options table -------------------------------------------------------------------
.PHONY: readme
readme: $(BUILD)/mkman ## write README.md's table of settings anew, and the checks in Kbuild-notes.md
	$(Q)$(BUILD)/mkman readme <README.md >$(BUILD)/README.md
	$(Q)cmp -s $(BUILD)/README.md README.md || cp $(BUILD)/README.md README.md
	$(Q)$(BUILD)/mkman notes <Kbuild-notes.md >$(BUILD)/Kbuild-notes.md
	$(Q)cmp -s $(BUILD)/Kbuild-notes.md Kbuild-notes.md || cp $(BUILD)/Kbuild-notes.md Kbuild-notes.md

# --- install -------------------------------------------------------------------------------------
# One list for both directions: source, folder, mode.
man_dir = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))
DEST_INCLUDE := $(DESTDIR)$(INCLUDEDIR)/spillway
DEST_DATA := $(DESTDIR)$(DATADIR)/spillway
KIT := $(sort $(wildcard tools/kit/*))
INSTALLED := $(HEADERS:lib/include/spillway/%=$(INCLUDEDIR)/spillway/%) \
	$(addprefix $(LIBDIR)/,libspillway.a $(SHARED) $(SONAME) libspillway.so) \
	$(PKGCONFIGDIR)/spillway.pc $(TOOLS:$(BUILD)/%=$(BINDIR)/%) \
	$(DATADIR)/spillway/poolstat.schema.json $(DATADIR)/spillway/doctor.schema.json \
	$(KIT:tools/kit/%=$(DATADIR)/spillway/kit/%) \
	$(foreach m,$(MAN_PAGES) $(MAN3_PAGES) $(MAN3_NAMES:%=%.3),$(call man_dir,$(m))/$(notdir $(m))) \
	$(COMPLETIONS:$(BUILD)/completion/%=$(COMPLETIONDIR)/%)

.PHONY: install uninstall
install: all ## install below $(DESTDIR)$(PREFIX)
	$(Q)install -d $(DEST_INCLUDE) $(DESTDIR)$(LIBDIR) $(DESTDIR)$(PKGCONFIGDIR)
	$(Q)install -m 644 $(HEADERS) $(DEST_INCLUDE)/
	$(Q)install -m 644 $(BUILD)/libspillway.a $(DESTDIR)$(LIBDIR)/
	$(Q)install -m 755 $(BUILD)/$(SHARED) $(DESTDIR)$(LIBDIR)/
	$(Q)ln -sf $(SHARED) $(DESTDIR)$(LIBDIR)/$(SONAME)
	$(Q)ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libspillway.so
	$(Q)install -m 644 $(BUILD)/spillway.pc $(DESTDIR)$(PKGCONFIGDIR)/
	$(Q)$(if $(TOOLS),install -d $(DESTDIR)$(BINDIR) && install -m 755 $(TOOLS) $(DESTDIR)$(BINDIR)/)
	$(Q)install -D -m 644 tools/poolstat/schema.json $(DEST_DATA)/poolstat.schema.json
	$(Q)install -m 644 tools/poolstat/doctor.schema.json $(DEST_DATA)/
	$(Q)install -d $(DEST_DATA)/kit && install -m 644 $(filter-out %.sh,$(KIT)) $(DEST_DATA)/kit/ && \
	    install -m 755 $(filter %.sh,$(KIT)) $(DEST_DATA)/kit/
	$(Q)$(foreach m,$(MAN_PAGES) $(MAN3_PAGES),install -D -m 644 $(m) $(DESTDIR)$(call man_dir,$(m))/$(notdir $(m)) &&) :
	$(Q)$(foreach g,$(MAN3_GROUPS),for name in $(filter-out spw_$(g),$(call functions_of,$(g))); do \
	    echo .so man3/spw_$(g).3 >$(DESTDIR)$(MANDIR)/man3/$$name.3; done;)
	$(Q)install -d $(DESTDIR)$(COMPLETIONDIR) && install -m 644 $(COMPLETIONS) $(DESTDIR)$(COMPLETIONDIR)/

uninstall: ## remove exactly what install put there
	$(Q)rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	$(Q)for dir in $(DEST_INCLUDE) $(DEST_DATA)/kit $(DEST_DATA); do \
	    if [ -d $$dir ]; then rmdir --ignore-fail-on-non-empty $$dir; fi; done

# --- release, housekeeping -----------------------------------------------------------------------
DIST := spillway-$(VERSION)
FORMATTED := $(wildcard lib/*.[ch] lib/include/spillway/*.h pool/*.[ch] policies/*.[ch] \
	tools/*.[ch] tools/*/*.[ch] tests/*.[ch] tests/prog/*.[ch] tests/external/*.c tests/external/*.cpp)

.PHONY: dist clean format format-check help
dist: ## build/spillway-VERSION.tar.gz of the last commit, the same bytes each time
	@if [ ! -e .git ] || ! command -v git >/dev/null; then \
	    echo "make dist packs the last commit: it needs git, and a checkout with its .git, which an" \
	        "unpacked release is not" >&2; exit 1; fi
	@mkdir -p $(BUILD)
	@git -c tar.umask=0022 archive --format=tar --prefix=$(DIST)/ HEAD >$(BUILD)/$(DIST).tar
	@gzip -n -9 -f $(BUILD)/$(DIST).tar
	@git diff --quiet HEAD || echo "note: uncommitted changes are not in it"
	@echo $(BUILD)/$(DIST).tar.gz

# --- Debian packages -----------------------------------------------------------------------------
# Made from the last commit, below build/deb, by the template in tools/debian.
.PHONY: deb deb-check
deb: dist ## Debian packages of the last commit in build/deb, looked at by lintian
	@sh tests/deps.sh $(PACKAGES_BUILD) $(PACKAGES_DEB)
	@BUILD='$(BUILD)' VERSION='$(VERSION)' PACKAGES='$(PACKAGES_BUILD) systemtap-sdt-dev' sh tools/debian.sh

deb-check: ## install and remove what `make deb` made, in a system of its own
	@BUILD='$(BUILD)' bash tests/deb.sh

clean: ## remove the build folder
	rm -rf $(BUILD)

format: ## format all C sources in place
	$(CLANG_FORMAT) -i $(FORMATTED)

format-check: ## fail where `make format` would change something
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(FORMATTED)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1@\2/p' $(firstword $(MAKEFILE_LIST)) | \
	    while IFS=@ read -r goal what; do printf '%-16s %s\n' "$$goal" "$$what"; done
	@echo "  V=1 shows commands; BUILD, CC, CFLAGS, LDFLAGS, PREFIX, DESTDIR, JOBS as usual;"
	@echo "  WITH_URING=0, WITH_NUMA=0, WITH_LZ4=0, WITH_ZSTD=0 and WITH_SDT=0 leave out what is optional; WERROR=0 keeps warnings warnings."

-include $(wildcard $(BUILD)/obj/*/*.d $(BUILD)/obj/*/*/*.d $(BUILD)/pic/*/*.d $(BUILD)/$(VARIANT)/*.d $(BUILD)/tests/*.d $(BUILD)/tests/prog/*.d)
