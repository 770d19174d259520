# The simulator: built without link-time optimisation, from the pure sources alone, and once more
# with the bugs that are planted on purpose (REPL_PLANTS).
SIM_SRC := $(wildcard tests/sim/*.c) tests/support/linear.c \
	$(call lib_src,common/base common/resp common/cmd common/model common/wire node/log node/repl proxy/coordinator)
SIM_FLAGS := -O2 $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DSHOAL_LIBC_MALLOC)
SIM_B := build/sim$(if $(SAN),-$(subst $(comma),-,$(SAN)))
$(SIM_B)/obj/%.o: %.c Makefile tests/sim/sim.mk
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(SIM_FLAGS) $(DEPS_CFLAGS) -MMD -MP -c $< -o $@
$(SIM_B)/planted/%.o: %.c Makefile tests/sim/sim.mk
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(SIM_FLAGS) $(DEPS_CFLAGS) -DREPL_PLANTS -MMD -MP -c $< -o $@
$(SIM_B)/sim: $(patsubst %.c,$(SIM_B)/obj/%.o,$(SIM_SRC))
$(SIM_B)/sim-planted: $(patsubst %.c,$(SIM_B)/planted/%.o,$(SIM_SRC))
$(SIM_B)/sim $(SIM_B)/sim-planted:
	$(Q)$(CC) $(SIM_FLAGS) $^ $(ALLOC) $(PURE_LIBS) -lm -o $@

# SEED=n replays one; HOURS=h runs until so many virtual hours have passed; else 100 seeds.
SIM_WHAT = $(if $(SEED),--seed $(SEED) $(if $(VERBOSE),--verbose),$(if $(HOURS),--hours $(HOURS),--seeds $(or $(SEEDS),100)))
.PHONY: sim sim-short sim-plants
sim: $(SIM_B)/sim
	$(Q)$< $(SIM_WHAT)
	+$(Q)$(if $(SEED),,$(MAKE) --no-print-directory sim-plants)
sim-plants: $(SIM_B)/sim-planted
	$(Q)$< --first 1 --quiet 20 --plants $(or $(PLANT_SEEDS),1000)
# For `make test`: fresh seeds for a while.
sim-short: $(SIM_B)/sim
	$(Q)$< --seconds $(or $(SIM_SECONDS),60)

# Chaos on real processes: the load, and the driver; `make chaos` takes about half an hour.
CHAOS_LOAD := $(B)/chaos-load
$(CHAOS_LOAD): $(B)/obj/tests/chaos/load.o $(B)/obj/tests/support/linear.o $(call lib,common-pure)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) $^ $(ALLOC) $(PURE_LIBS) -lm -o $@
CHAOS_LONG := --kills 100 --stops 50 --partitions 50 --operations 40
.PHONY: chaos chaos-short
chaos: all $(CHAOS_LOAD)
	$(Q)$(TEST_ENV) CHAOS_LOAD=$(CURDIR)/$(CHAOS_LOAD) tests/chaos/run $(CHAOS_LONG) $(CHAOS)
chaos-short: all $(CHAOS_LOAD)
	$(Q)$(TEST_ENV) CHAOS_LOAD=$(CURDIR)/$(CHAOS_LOAD) tests/chaos/run $(CHAOS)

# Unit tests of what tests stand on.
SIM_UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/sim/*/*_test.c))
UNIT += $(SIM_UNIT)
$(B)/tests/unit/sim/support/linear_test: $(B)/obj/tests/unit/sim/support/linear_test.o $(B)/obj/tests/support/linear.o $(call lib,common-pure)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDMODE) $^ -lcmocka $(ALLOC) $(PURE_LIBS) -lm -o $@
-include $(shell find build/sim* -name '*.d' 2>/dev/null)
