/**
 * What both parties expand from the public seed of an inference: a stream a stage and purpose, so that a stage can be garbled
 * wherever it is, and none of it twice.
 */
import { Prg } from '../random.js'
import { HashKeys } from './hash.js'

export interface StageSeed {
  /** Public seed of the inference. */
  readonly seed: Uint8Array
  readonly stage: number
}

const PURPOSES = 3
const stream = ({ seed, stage }: StageSeed, purpose: number) => new Prg(seed, stage * PURPOSES + purpose)

/** Hash keys of the stage's chunks. */
export const chunkKeys = (seed: StageSeed) => new HashKeys(stream(seed, 0))
/** The garbler's active labels. */
export const garblerLabels = (seed: StageSeed) => stream(seed, 1)
/** Hash keys of the stage's selection. */
export const selectionKeys = (seed: StageSeed) => new HashKeys(stream(seed, 2))
