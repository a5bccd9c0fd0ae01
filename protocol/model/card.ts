/**
 * The card: what the public is told about a model besides its plan. YAML beside the ONNX file; every key but `input`
 * is optional, and a missing card is derived from the graph.
 */
import { z } from 'zod'
import { MinionnError } from '../errors.js'
import { MAX_PIECES } from './fit-pieces.js'
import { elements } from './layers.js'

const finite = z.number().refine(Number.isFinite, 'must be finite')
const range = z.tuple([finite, finite]).refine(([low, high]) => low < high, 'must be [low, high] with low < high')

const imageInput = z.strictObject({
  kind: z.literal('image'),
  mode: z.enum(['grayscale', 'rgb']),
  /** [height, width] in pixels. */
  size: z.tuple([z.int().positive().max(65536), z.int().positive().max(65536)]),
  /** tensor = (pixel * scale - mean) / std with pixels 0..255; mean and std one a channel. */
  scale: finite.default(1 / 255),
  mean: z.array(finite).max(3).optional(),
  std: z
    .array(finite.refine((v) => v !== 0, 'must not be 0'))
    .max(3)
    .optional(),
  /** Range of the tensor's values; derived from pixels 0..255 when absent. */
  range: range.optional(),
})

const tensorInput = z.strictObject({ kind: z.literal('tensor'), range })

/** One element is 1, all others are 0: which one is what a client gives, by number or by label. */
const oneHotInput = z.strictObject({ kind: z.literal('one-hot') })

export const cardSchema = z.strictObject({
  input: z.discriminatedUnion('kind', [imageInput, tensorInput, oneHotInput]),
  labels: z.array(z.string().max(200)).max(100_000).optional(),
  /** All outputs, the label of the largest alone, or those of so many largest, in order. */
  reveal: z
    .string()
    .regex(/^(outputs|label|top-([2-9]|[1-9]\d))$/, '"outputs", "label" or "top-2" to "top-99" is expected')
    .default('outputs'),
  /**
   * Of activations that linear pieces stand for, by ONNX's operator: how many pieces at most, as close as they come, and how far
   * from zero, both otherwise by the precision.
   */
  approximations: z
    .record(
      z.string().max(100),
      z.strictObject({ pieces: z.int().min(2).max(MAX_PIECES).optional(), range: finite.positive().optional() }),
    )
    .optional(),
  /** Of a recurrent model: its inputs that are states, and the outputs that they become. Those named NAME and NAME_out need not be told. */
  states: z.record(z.string().max(1000), z.string().max(1000)).optional(),
  /** The output to predict, where the graph has several. */
  output: z.string().max(1000).optional(),
  description: z.string().max(200).optional(),
})

export type Card = z.infer<typeof cardSchema>
export type ImageInput = Extract<Card['input'], { kind: 'image' }>

/** Values a model without a card is assumed to take: wide enough for the usual normalisations. */
const DEFAULT_RANGE: readonly [number, number] = [-4, 4]

/** Labels that a client learns where it does not learn the outputs; 0 where it does. */
export function revealedLabels({ reveal }: Pick<Card, 'reveal'>): number {
  return reveal === 'outputs' ? 0 : reveal === 'label' ? 1 : Number(reveal.slice('top-'.length))
}

/** What a card as parsed from YAML says of the graph's inputs and outputs. Throws BAD_INPUT. */
export function graphOptions(raw: unknown): Pick<Card, 'states' | 'output'> {
  const parsed = cardSchema
    .pick({ states: true, output: true })
    .strip()
    .safeParse(raw ?? {})
  if (parsed.success) return parsed.data
  throw new MinionnError('BAD_INPUT', wrong(parsed.error))
}

function wrong(error: z.ZodError): string {
  const [issue] = error.issues
  return `the card is wrong at "${issue.path.join('.') || 'top level'}": ${issue.message}`
}

/** Checks a card as parsed from YAML against the model's shapes. Throws BAD_INPUT. */
export function checkCard(raw: unknown, inputShape: readonly number[], outputs: number): Card {
  const parsed = cardSchema.safeParse(raw)
  if (!parsed.success) throw new MinionnError('BAD_INPUT', wrong(parsed.error))
  const card = parsed.data
  if (card.input.kind === 'image') {
    const { mode, size, mean, std } = card.input
    const channels = mode === 'rgb' ? 3 : 1
    const count = channels * size[0] * size[1]
    if (count !== elements(inputShape)) {
      throw new MinionnError(
        'BAD_INPUT',
        `the card's ${mode} images of [${size}] have ${count} values, the model takes [${inputShape}]`,
      )
    }
    for (const [key, list] of [
      ['mean', mean],
      ['std', std],
    ] as const) {
      if (list !== undefined && list.length !== channels) {
        throw new MinionnError('BAD_INPUT', `the card's ${key} has ${list.length} values for ${channels} channels`)
      }
    }
  }
  if (card.labels !== undefined && card.labels.length !== outputs) {
    throw new MinionnError('BAD_INPUT', `the card has ${card.labels.length} labels for ${outputs} outputs`)
  }
  const least = Math.max(2, revealedLabels(card))
  if (card.reveal !== 'outputs' && outputs < least) {
    throw new MinionnError(
      'BAD_INPUT',
      `reveal: ${card.reveal} needs at least ${least} outputs, the model has ${outputs}`,
    )
  }
  return card
}

/** The card of a model that came without one, and in words what it assumes. */
export function deriveCard(inputShape: readonly number[]): { card: Card; assumptions: string[] } {
  const [low, high] = DEFAULT_RANGE
  const span = `input values from ${low} to ${high}`
  // [channels, height, width], or [height, width, channels] as Keras has it.
  const last = inputShape.length === 3 && inputShape[0] > 3 && inputShape[2] <= 3
  const [channels, height, width] = last ? [inputShape[2], inputShape[0], inputShape[1]] : inputShape
  if (inputShape.length === 3 && (channels === 1 || channels === 3)) {
    const mode = channels === 1 ? 'grayscale' : 'rgb'
    return {
      card: {
        input: { kind: 'image', mode, size: [height, width], scale: 1 / 255, range: [low, high] },
        reveal: 'outputs',
      },
      assumptions: [
        `the input is a ${mode} image of ${height}x${width}, fed as pixel/255`,
        span,
        'all outputs are revealed',
      ],
    }
  }
  return {
    card: { input: { kind: 'tensor', range: [low, high] }, reveal: 'outputs' },
    assumptions: [`the input is a tensor of shape [${inputShape}]`, span, 'all outputs are revealed'],
  }
}

/** Channels' mean and std, defaults filled in. */
export function normalisation(input: ImageInput): { mean: number[]; std: number[] } {
  const channels = input.mode === 'rgb' ? 3 : 1
  return { mean: input.mean ?? Array(channels).fill(0), std: input.std ?? Array(channels).fill(1) }
}

/** Range of the tensor's values: declared, or that of pixels 0..255. */
export function inputRange(card: Card): readonly [number, number] {
  if (card.input.kind === 'one-hot') return [0, 1]
  if (card.input.range !== undefined) return card.input.range
  const input = card.input as ImageInput
  const { mean, std } = normalisation(input)
  const ends = mean.flatMap((m, c) => [(0 - m) / std[c], (255 * input.scale - m) / std[c]])
  return [Math.min(...ends), Math.max(...ends)]
}
