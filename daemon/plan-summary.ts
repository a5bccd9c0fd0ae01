/** What `model show` prints: the plan with its exact costs per inference. */

import {
  activationShape,
  inputCount,
  needsTriples,
  type PublishedModel,
  stageSizes,
  valueRing,
  valueSize,
} from '../protocol/model/plan.js'
import { prepareCosts } from '../protocol/offline/prepare.js'
import { stageBytes } from '../protocol/online/garbled-stage.js'
import { stagesOf } from '../protocol/online/infer.js'
import { packedBytes } from '../protocol/ring/bits.js'
import { inputSize, outputSize } from '../protocol/ring/linear.js'

export interface StageSummary {
  readonly name: string
  readonly linear: string
  readonly activation: string
  readonly ring: number
  readonly instances: number
  readonly andGates: number
  readonly bytes: number
}

export interface PlanSummary {
  readonly id: string
  readonly input: {
    readonly shape: readonly number[]
    readonly range: readonly [number, number]
    readonly scale: number
  }
  readonly outputs: number
  readonly reveal: string
  readonly stages: readonly StageSummary[]
  readonly andGates: number
  /** Expected payload per inference; offline for a bundle made alone and in a batch of 16. */
  readonly bytes: {
    readonly online: { readonly up: number; readonly down: number }
    readonly offline: { readonly up: number; readonly down: number }
    readonly offlineBatch16: { readonly up: number; readonly down: number }
  }
  readonly ciphertexts: { readonly up: number; readonly down: number }
  /** Round trips of an inference on a connection that was used before: one to begin, and one a garbled stage. */
  readonly rounds: number
}

const BATCH = 16

export function summarisePlan({ id, manifest: { plan } }: PublishedModel): PlanSummary {
  const garbled = stagesOf(plan)
  const costs = plan.stages.map((s, i) => {
    const stage = garbled[i]
    if (stage !== undefined) return stageBytes(stage)
    // Shared anew: one ring element each.
    const up = s.activation === undefined ? 0 : packedBytes(stageSizes(s).instances, s.ring)
    return { up, down: 0, andGates: 0 }
  })
  const one = prepareCosts(plan, 1)
  const many = prepareCosts(plan, BATCH)
  const last = plan.stages[plan.stages.length - 1]
  const inputs = Array.from({ length: inputCount(plan) }, (_, j) => packedBytes(valueSize(plan, j), valueRing(plan, j)))
  const up = inputs.reduce((sum, b) => sum + b, 0) + costs.reduce((sum, c) => sum + c.up, 0)
  const shares = plan.card.reveal !== 'outputs' ? 0 : packedBytes(plan.output.size, last.ring)
  const { scale, low, high, shape } = plan.input
  return {
    id,
    input: { shape, range: [low / scale, high / scale], scale },
    outputs: plan.output.size,
    reveal: plan.card.reveal,
    stages: plan.stages.map((s, i) => ({
      name: s.name,
      linear: describeLinear(s),
      activation:
        s.activation === undefined
          ? garbled[i] === undefined
            ? 'reveal outputs'
            : `argmax (${plan.card.reveal})`
          : describeActivation(plan, i),
      ring: s.ring,
      instances: garbled[i]?.instances ?? 0,
      andGates: costs[i].andGates,
      bytes: costs[i].up + costs[i].down,
    })),
    andGates: costs.reduce((sum, c) => sum + c.andGates, 0),
    bytes: {
      online: { up, down: costs.reduce((sum, c) => sum + c.down, 0) + shares },
      offline: { up: one.bytesUp, down: one.bytesDown },
      offlineBatch16: { up: Math.round(many.bytesUp / BATCH), down: Math.round(many.bytesDown / BATCH) },
    },
    ciphertexts: { up: one.up, down: one.down },
    rounds: 1 + garbled.filter((stage) => stage !== undefined).length,
  }
}

function describeLinear(s: PublishedModel['manifest']['plan']['stages'][number]): string {
  const g = s.linear
  const parts: string[] = []
  if (s.transpose !== undefined) parts.push(`transpose ${s.transpose.perm.join('')}`)
  if (s.pre !== undefined) parts.push(`sum ${s.pre.kernel.join('x')}`)
  if (g.kind === 'conv') {
    const extra = [
      g.strides.some((v) => v > 1) && `stride ${g.strides.join(',')}`,
      g.groups > 1 && `groups ${g.groups}`,
    ]
    parts.push(
      `conv ${g.input.join('x')} -> ${g.output.join('x')}, ${g.kernel.join('x')}`,
      ...extra.filter((v) => v !== false),
    )
  } else if (needsTriples(s)) {
    parts.push(`dense ${inputSize(g)} -> ${outputSize(g)}`)
  } else {
    parts.push(`identity ${inputSize(g)}`)
  }
  if (s.post !== undefined) parts.push(`sum ${s.post.kernel.join('x')}`)
  if (s.parts.length > 1) parts.push(`of ${s.parts.length} parts`)
  for (const { from } of s.skips) parts.push(`+ value ${from}`)
  return parts.join(', ')
}

function describeActivation(plan: PublishedModel['manifest']['plan'], i: number): string {
  const { approximates } = plan.stages[i].activation!
  const { window, fn, pieces, terms, shift, bits, saturate, select } = activationShape(plan, i)
  const parts = [
    window > 1 && fn !== 'product' && `max of ${window}`,
    fn === 'relu' && (select ? 'ReLU by selection' : 'ReLU'),
    fn === 'square' && 'square',
    fn === 'product' && (window === 2 ? 'product' : `sum of ${window / 2} products`),
    fn === 'reshare' && 'shared anew',
    pieces &&
      `${approximates?.fn ?? 'function'} by ${pieces.symmetric ? 2 * pieces.knots.length + 1 : pieces.slopes.length} pieces, error ${approximates?.error ?? 0}`,
    terms === undefined && fn !== 'reshare' && `>> ${shift}`,
    terms === undefined && `${bits} bits${saturate ? ', saturating' : ''}`,
  ]
  return parts.filter((part) => part).join(', ')
}
