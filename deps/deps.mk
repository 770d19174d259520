# Where the libraries are. libev has no .pc file in Debian; it is found by the linker.
# Asking pkg-config for all of them in one call keeps `make` with nothing to do quick.
DEPS_PKG := hiredis sqlite3 libxxhash liblzf lua5.1
# As system headers: their warnings are not ours.
DEPS_CFLAGS := $(patsubst -I%,-isystem%,$(shell pkg-config --cflags $(DEPS_PKG) 2>/dev/null))
DEPS_LIBS := $(shell pkg-config --libs $(DEPS_PKG) 2>/dev/null) -lev
JEMALLOC_LIBS := $(shell pkg-config --libs jemalloc 2>/dev/null || echo -ljemalloc)
PURE_LIBS := $(shell pkg-config --libs libxxhash liblzf lua5.1 2>/dev/null)
