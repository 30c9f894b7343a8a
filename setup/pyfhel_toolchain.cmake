# Pyfhel's bundled SEAL fetches GSL, zlib and zstd from a code host while it builds. Fedward serializes
# without compression and needs none of them; forcing them off lets Pyfhel build from the package index alone.
set(SEAL_BUILD_DEPS OFF CACHE BOOL "no downloads while building" FORCE)
set(SEAL_USE_MSGSL OFF CACHE BOOL "not needed" FORCE)
set(SEAL_USE_ZLIB OFF CACHE BOOL "hashes must not depend on a compressor's version" FORCE)
set(SEAL_USE_ZSTD OFF CACHE BOOL "hashes must not depend on a compressor's version" FORCE)
