/**
 * Every limit that a peer's or a user's numbers are checked against before anything is allocated.
 */

/** Widest share ring: shares live in Uint32Array. */
export const MAX_RING_BITS = 32

/** A control message (protobuf) on the wire, bytes. Nothing but ids and counts travels in one. */
export const MAX_CONTROL_BYTES = 64 * 1024

/** A plan received from a peer, bytes of JSON. ResNet-50's would be about 60 KB. */
export const MAX_PLAN_BYTES = 1024 * 1024

/** Entries of a catalog received from a peer. */
export const MAX_CATALOG_ENTRIES = 1024

/** A catalog received from a peer, bytes: each entry has an id, a name and one line of description. */
export const MAX_CATALOG_BYTES = 1024 * 1024

/** Stages of a plan. */
export const MAX_STAGES = 512

/** Values that one stage puts together, or adds. */
export const MAX_PARTS = 1024

/** Products that one stage sums: each has AND gates for every pair of its operands' bits. */
export const MAX_TERMS = 16

/** States of a recurrent model. */
export const MAX_STATES = 64

/** Elements of one tensor of a plan; 2^24 labels of 16 bytes are what a host can hold. */
export const MAX_TENSOR_ELEMENTS = 1 << 24

/** Weights of one linear map. */
export const MAX_WEIGHTS = 1 << 28

/** Elements of one pooling window. */
export const MAX_WINDOW = 4096

/** Bundles that one prepare session makes. */
export const MAX_PREPARE_COUNT = 64

/** Bundles a host stores for one peer and model; the oldest give way, since a client may have lost them. */
export const MAX_STORED_BUNDLES = 4096

/** Sessions (prepare or infer) a host runs for one peer at a time. */
export const MAX_SESSIONS_PER_PEER = 4

/** Sessions (prepare or infer) a host runs at a time. */
export const MAX_SESSIONS = 32

/** Recurrent sessions of one model whose states a host keeps for one peer, two steps of each; the oldest give way. */
export const MAX_KEPT_SESSIONS = 64

/** Silence after which a session with a peer is given up, milliseconds. */
export const IDLE_TIMEOUT_MS = 30_000

/** Time to dial a peer and open a stream, milliseconds. */
export const DIAL_TIMEOUT_MS = 10_000

/** Bytes that wait unread in a channel before the peer is told to pause. */
export const READ_HIGH_WATER = 4 * 1024 * 1024

/** Bytes that wait to be sent before a writer waits with them. */
export const WRITE_HIGH_WATER = 1024 * 1024

/** Bytes of a bulk frame: small frames pay for a yamux and a Noise header and for event-loop turns each. */
export const BULK_FRAME_BYTES = 256 * 1024

/** A user's input file, bytes. */
export const MAX_INPUT_BYTES = 64 * 1024 * 1024

/** A user's ONNX file, bytes. */
export const MAX_ONNX_BYTES = 512 * 1024 * 1024

/** Receive window that a stream may grow to, bytes: what a paused session can still be sent. */
export const MAX_STREAM_WINDOW = 8 * 1024 * 1024

/** Input bits of one circuit instance from one side: a window or an argmax times its ring. */
export const MAX_CIRCUIT_INPUTS = 1 << 20

/** Oblivious transfers of one garbled stage: their labels, 16 bytes each, are held at once. */
export const MAX_STAGE_TRANSFERS = 1 << 26
