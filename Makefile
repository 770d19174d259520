# Shoal: one Makefile for everything. The verbs:
#
#   make            build/shoal-proxy and build/shoal-node (-O3, LTO, debug symbols)
#   make run        install what is missing, build, start a proxy with three nodes on port 6379
#   make test       install what is missing, build, run every test (unit, simulator, integration, features, chaos, Redis's suite)
#   make unit integration bdd clients compat fuzz-short     the parts of `make test`
#   make differential   ten million random commands, the same to redis-server and to us
#   make sim        whole clusters on a virtual clock: SEED=n replays, HOURS=h, SEEDS=n; planted bugs
#   make chaos      kills, stops and partitions of real processes under a load that remembers
#   make bench      CPU per operation and memory against redis-server and nutcracker; BENCH_OUT=docs/PERFORMANCE.md keeps it
#   make handover   hand-overs and moves of 1 GB under a steady load: latencies, pauses; BENCH_OUT as above
#   make fuzz       each fuzz target for FUZZ_SECONDS (600)
#   make lint       format, clang-tidy, cppcheck, warnings of gcc and clang, floors, headers
#   make format     apply clang-format
#   make install    into PREFIX (/usr/local) below DESTDIR; conf files that were changed there stay
#   make clean help
#
# Variables: DEV=1 (quick unoptimised build in build/dev), SAN=address,undefined or SAN=thread
# (in build/san-...), CC, PREFIX, DESTDIR, FUZZ_SECONDS, TEST_PATIENCE (a factor), V=1.
include deps/deps.mk

# The floors of each tower, lowest first: a folder may include itself and what stands before it.
FLOORS_common := base resp cmd model wire io app
FLOORS_proxy  := route exec coordinator control back front local admin
FLOORS_node   := types log keyspace cmd script persist repl jobs agent link serve admin
# Pure folders: no sockets, clocks, threads; pure unit tests link only these.
PURE := common/base common/resp common/cmd common/model common/wire \
        proxy/route proxy/exec proxy/coordinator node/types node/log node/keyspace node/cmd \
        node/script node/persist node/repl

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 600
comma := ,
VARIANT := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),$(if $(DEV),dev,release))
B := build/$(VARIANT)
BIN := $(if $(filter release,$(VARIANT)),build,$(B))
Q := $(if $(V),,@)

WARN := -Wall -Wextra -Werror -Wshadow -Wundef -Wvla -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wimplicit-fallthrough -Wswitch-enum -Wconversion -Wno-sign-conversion -Wno-string-conversion
BASE := -std=gnu11 -g -fno-omit-frame-pointer -I. -D_GNU_SOURCE $(WARN)
ifneq ($(SAN),)
  # libc's malloc, which the sanitizers know.
  MODE := -O1 -fsanitize=$(SAN) -fno-sanitize-recover=all -DSHOAL_LIBC_MALLOC
  LDMODE := -fsanitize=$(SAN)
else ifneq ($(DEV),)
  MODE := -O1 -fstack-protector-strong
else
  # Fat: unit tests are linked without the optimiser, which for each of them takes a second or more.
  # What gcc thinks to see after inlining is often wrong: lint and the quick build tell what is not.
  MODE := -O3 -flto=auto -ffat-lto-objects -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
	-Wno-maybe-uninitialized -Wno-format-truncation -Wno-array-bounds \
	-Wno-stringop-overflow -Wno-stringop-overread
  LDMODE := -O3 -flto=auto -Wno-error
  UNIT_MODE := -fno-lto
  AR := gcc-ar
endif
ALLOC := $(if $(SAN),,$(JEMALLOC_LIBS))
CFLAGS_ALL := $(BASE) $(MODE) $(DEPS_CFLAGS) $(CFLAGS)
LDLIBS := $(DEPS_LIBS) $(ALLOC) -lpthread -lm

src = $(wildcard $(1)/*.c)
floor_src = $(foreach f,$(2),$(call src,$(1)/$(f)))
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
pure_of = $(foreach f,$(FLOORS_$(1)),$(filter $(1)/$(f),$(PURE)))
io_of = $(filter-out $(PURE),$(addprefix $(1)/,$(FLOORS_$(1))))
lib_src = $(foreach d,$(1),$(call src,$(d)))
LIBS := common-pure common-io proxy-pure proxy-io node-pure node-io
$(foreach t,common proxy node,$(eval SRC_$(t)-pure := $(call lib_src,$(call pure_of,$(t)))) \
  $(eval SRC_$(t)-io := $(call lib_src,$(call io_of,$(t)))))
lib = $(addprefix $(B)/lib/lib,$(addsuffix .a,$(1)))

PROGRAMS := $(BIN)/shoal-proxy $(BIN)/shoal-node
UNIT_SRC := $(filter-out tests/unit/sim/%,$(shell find tests/unit -name '*_test.c' 2>/dev/null))
UNIT := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
FUZZ_SRC := $(wildcard tests/fuzz/*_fuzz.c)
FUZZ := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))
ALL_C := $(shell find common proxy node tests -name '*.[ch]' 2>/dev/null)

.PHONY: deps-missing all run test unit integration bdd clients compat compat-all compat-own compat-chaos fuzz fuzz-short bench lint format install lint-settings clean help deps
.DEFAULT_GOAL := all
.SECONDARY:

all: $(PROGRAMS)

help:
	@sed -n '2,/^include/p' Makefile | sed -n 's/^# \{0,1\}//p'

# Says what to do where a compiler could only say which header it does not find.
DEPS_READY := $(if $(DEPS_CFLAGS),,deps-missing)
deps-missing:
	@echo "libraries are missing: 'make deps' installs them on Debian, and tells elsewhere"; exit 1

# What objects are compiled with, in files that change only when it does: another verb in this file
# is no reason to compile anything again.
.PHONY: flags-now
$(B)/flags build/fuzz/flags: flags-now
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(if $(findstring fuzz,$@),$(FUZZ_MODE) $(BASE),$(CC) $(CFLAGS_ALL)) $(DEPS_CFLAGS))' | cmp -s - $@ || \
	    printf '%s\n' '$(subst ','\'',$(if $(findstring fuzz,$@),$(FUZZ_MODE) $(BASE),$(CC) $(CFLAGS_ALL)) $(DEPS_CFLAGS))' > $@

$(B)/obj/%.o: %.c $(B)/flags | $(DEPS_READY)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(if $(filter tests/unit/%,$<),$(UNIT_MODE)) -MMD -MP -c $< -o $@

# An archive holds what its folders hold now: the list of its objects is kept beside it, and where a
# file has come or gone since, it is made anew.
.PHONY: anew
stale = $(if $(strip $(filter-out $(1),$(2)) $(filter-out $(2),$(1))),anew)
define archive
$(B)/lib/lib$(1).a: $(call obj,$(SRC_$(1))) $(call stale,$(call obj,$(SRC_$(1))),$(file <$(B)/lib/lib$(1).list))
	@mkdir -p $$(@D) && rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$(filter %.o,$$^) && echo "$$(filter %.o,$$^)" > $(B)/lib/lib$(1).list
endef
$(foreach l,$(LIBS),$(eval $(call archive,$(l))))

$(BIN)/shoal-proxy: $(call obj,proxy/main.c) $(call lib,proxy-io proxy-pure common-io common-pure)
$(BIN)/shoal-node: $(call obj,node/main.c) $(call lib,node-io node-pure common-io common-pure)
# -rdynamic: the report of a crash names functions.
$(PROGRAMS):
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) -rdynamic $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS) -o $@
	@echo "built $@"

# A unit test mirrors the path of what it tests; in a pure folder it links pure archives only,
# so that a smuggled system call or libev call fails to link.
test_tower = $(word 3,$(subst /, ,$(1)))
test_dir = $(word 3,$(subst /, ,$(1)))/$(word 4,$(subst /, ,$(1)))
test_libs = $(if $(filter $(call test_dir,$(1)),$(PURE)),$(sort $(call test_tower,$(1))-pure common-pure),$(sort $(call test_tower,$(1))-io $(call test_tower,$(1))-pure common-io common-pure))
define unit_rule
$(B)/$(1:.c=): $(B)/obj/$(1:.c=.o) $(call lib,$(call test_libs,$(1)))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(LDMODE) $$(UNIT_MODE) $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group -lcmocka $$(if $$(filter $(call test_dir,$(1)),$$(PURE)),$$(ALLOC) $$(PURE_LIBS) -lm,$$(LDLIBS)) -o $$@
endef
$(foreach t,$(UNIT_SRC),$(eval $(call unit_rule,$(t))))

include tests/sim/sim.mk

# Sanitizers slow a program down: its tests wait longer. What they find fails the test.
TEST_PATIENCE ?= $(if $(SAN),4,1)
TEST_ENV = SHOAL_BIN=$(CURDIR)/$(BIN) TEST_PATIENCE=$(TEST_PATIENCE) $(if $(SAN),tests/support/checked $(B)/reports/$@)
unit: $(UNIT)
	$(Q)$(TEST_ENV) tests/unit/run $(UNIT)

integration bdd clients: all
	$(Q)$(TEST_ENV) tests/$@/run

compat: all
	$(Q)$(TEST_ENV) redis-compat/run
compat-all: all
	$(Q)$(TEST_ENV) redis-compat/run node proxy cluster single
compat-own: all
	$(Q)$(TEST_ENV) redis-compat/run own-all
compat-chaos: all
	$(Q)$(TEST_ENV) redis-compat/run chaos

FUZZ_MODE := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -DSHOAL_LIBC_MALLOC
build/fuzz/obj/%.o: %.c build/fuzz/flags
	@mkdir -p $(@D)
	$(Q)clang $(BASE) $(DEPS_CFLAGS) $(FUZZ_MODE) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
# A target is of one tower, as a program is: names may mean other things in the other one.
fuzz_lib = build/fuzz/lib$(if $(shell grep -l '"node/' $(1)),node,proxy).a
fuzz_obj = $(patsubst %.c,build/fuzz/obj/%.o,$(SRC_common-pure) $(SRC_common-io) $(SRC_$(1)-pure))
define fuzz_archive
build/fuzz/lib$(1).a: $(call fuzz_obj,$(1)) $(call stale,$(call fuzz_obj,$(1)),$(file <build/fuzz/lib$(1).list))
	$$(Q)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^) && echo "$$(filter %.o,$$^)" > build/fuzz/lib$(1).list
endef
$(foreach t,proxy node,$(eval $(call fuzz_archive,$(t))))
.SECONDEXPANSION:
build/fuzz/%_fuzz: build/fuzz/obj/tests/fuzz/%_fuzz.o $$(call fuzz_lib,tests/fuzz/$$*_fuzz.c)
	$(Q)clang $(FUZZ_MODE) -fsanitize=fuzzer $^ $(DEPS_LIBS) -lpthread -lm -o $@

fuzz: $(FUZZ)
	$(Q)tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ)
fuzz-short: $(FUZZ)
	$(Q)tests/fuzz/run 5 $(FUZZ)

bench:
	$(Q)deps/install build bench
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/bench/run
	$(Q)tests/bench/memory.py

# What hand-overs and moves of shards with data cost those who use them meanwhile; a quarter of an hour.
STEADY := $(B)/steady
$(STEADY): $(B)/obj/tests/bench/steady.o $(call lib,common-pure)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) $(LDFLAGS) $^ $(ALLOC) $(PURE_LIBS) -lm -o $@
.PHONY: handover
handover: all $(STEADY)
	$(Q)$(TEST_ENV) STEADY=$(CURDIR)/$(STEADY) tests/bench/handover

# The keyspace without sockets, for perf: $(B)/keyspace_bench [keys] [operations] [pipeline].
$(B)/keyspace_bench: $(B)/obj/tests/bench/keyspace_bench.o $(call lib,node-pure common-pure)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) $(LDFLAGS) $^ $(ALLOC) $(PURE_LIBS) -lm -o $@

# Random commands to us and to redis-server; `make differential` compares ten million.
DIFFERENTIAL := $(B)/differential
$(DIFFERENTIAL): $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/differential/*.c)) $(call lib,common-pure)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(ALLOC) $(PURE_LIBS) -lm -o $@
.PHONY: differential differential-short
differential differential-short: all $(DIFFERENTIAL)
	$(Q)$(TEST_ENV) DIFFERENTIAL=$(CURDIR)/$(DIFFERENTIAL) tests/differential/run $(if $(filter differential,$@),--commands 10000000)

# Messages through a failover: none twice, none in the wrong order, none lost behind it.
PUBSUB_LOAD := $(B)/pubsub-load
$(PUBSUB_LOAD): $(B)/obj/tests/pubsub/load.o $(call lib,common-pure)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) $(LDFLAGS) $^ $(ALLOC) $(PURE_LIBS) -lm -o $@
.PHONY: pubsub-load pubsub-short
pubsub-load pubsub-short: all $(PUBSUB_LOAD)
	$(Q)$(TEST_ENV) PUBSUB_LOAD=$(CURDIR)/$(PUBSUB_LOAD) tests/pubsub/run $(if $(filter %-short,$@),--seconds 6 --rate 5000 --subscribers 200)

deps:
	$(Q)deps/install build
run:
	$(Q)deps/install build
	$(Q)$(MAKE) --no-print-directory all
	$(Q)exec conf/run-local

test:
	$(Q)deps/install build test
	+$(Q)tests/run

lint:
	$(Q)deps/install build test lint
	$(Q)tests/lint/run

# For tests/lint/run: what the Makefile knows, as shell assignments.
lint-settings:
	@echo "FLOORS_common='$(FLOORS_common)' FLOORS_proxy='$(FLOORS_proxy)' FLOORS_node='$(FLOORS_node)'"
	@echo "PURE='$(PURE)' CFLAGS_LINT='$(BASE) $(DEPS_CFLAGS)'"

format:
	clang-format -i $(ALL_C)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/etc/shoal $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 build/shoal-proxy build/shoal-node $(DESTDIR)$(PREFIX)/bin
	for c in shoal-proxy.conf shoal-node.conf; do at=$(DESTDIR)$(PREFIX)/etc/shoal/$$c; \
	    if [ -e $$at ] && ! cmp -s conf/$$c $$at; then at=$$at.new; echo "$${at%.new} is kept: the new one is $$at"; fi; \
	    install -m 644 conf/$$c $$at || exit 1; done
	for u in conf/systemd/*.service; do sed 's|@PREFIX@|$(PREFIX)|g' $$u > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$u); done

clean:
	rm -rf build

-include $(shell find $(B)/obj build/fuzz/obj -name '*.d' 2>/dev/null)
