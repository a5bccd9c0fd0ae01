/**
 * Flags of Node for a daemon. It moves its data through buffers outside of V8's heap, and by default V8 collects the whole heap
 * whenever 64 MB of them were made: several times a second. Counted against the heap's own limit, they are freed by the cheap
 * young collections.
 */
export const DAEMON_FLAGS = [
  '--external-memory-accounted-in-global-limit',
  '--initial-heap-size=128',
  '--max-semi-space-size=8',
]
