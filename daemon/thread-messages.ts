/** What threads.ts and thread.ts say to each other. */
import type { EvaluateJob, GarbleJob } from '../protocol/garbling/stage.js'
import type { RespondJob } from '../protocol/homomorphic/respond.js'

/** What the main thread sends. */
export type ToThread =
  | { readonly kind: 'respond'; readonly job: RespondJob }
  | { readonly kind: 'garble'; readonly job: GarbleJob }
  | { readonly kind: 'evaluate'; readonly job: EvaluateJob }
  /** The caller took an item and can take another. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'tables'; readonly tables: Uint8Array }
  /** No more tables, or nobody wants the job any more. */
  | { readonly kind: 'end' }

/** What a thread answers. */
export type FromThread =
  | { readonly kind: 'item'; readonly item: Uint8Array }
  | { readonly kind: 'taken' }
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }

/** Items that wait unsent for the caller: enough that neither side stalls. */
export const ITEMS_AHEAD = 8
