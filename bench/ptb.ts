/** Penn Treebank, its language model and its card, from ../shared. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

const DATA = '../shared/data/ptb'
export const PTB_MODEL = '../shared/models/ptb_lstm_step.onnx'

/** The vocabulary, most frequent first. */
export function ptbVocabulary(): string[] {
  return readFileSync(`${DATA}/vocab.txt`, 'utf8').trim().split('\n')
}

/** A card with the vocabulary as labels, and pieces of sigmoid and tanh where they are given. */
export function ptbCard(pieces?: number): string {
  const approximations = pieces && `approximations: { Sigmoid: { pieces: ${pieces} }, Tanh: { pieces: ${pieces} } }\n`
  return `input: { kind: one-hot }\nlabels: ${JSON.stringify(ptbVocabulary())}\n${approximations ?? ''}`
}

/** The lines of a part of the corpus, as many as hold `words` words, ends of lines counted. */
export function ptbText(part: 'train' | 'valid' | 'test', words = Number.POSITIVE_INFINITY): string {
  const text = gunzipSync(readFileSync(`${DATA}/ptb.${part}.txt.gz`)).toString()
  if (words === Number.POSITIVE_INFINITY) return text
  const all = text.split('\n').flatMap((line) => [...line.trim().split(/\s+/), '\n'])
  return all.slice(0, words).join(' ')
}

/** A part of the corpus as indices of the vocabulary; line ends are a word. */
export function ptbWords(part: 'train' | 'valid' | 'test'): number[] {
  const index = new Map(ptbVocabulary().map((word, i) => [word, i]))
  const lines = ptbText(part).trim().split('\n')
  return lines.flatMap((line) => [...line.trim().split(/\s+/), '<eos>']).map((word) => index.get(word)!)
}

export function oneHot(size: number, index: number): Float64Array {
  const row = new Float64Array(size)
  row[index] = 1
  return row
}

/** -log of the probability that logits give to an index: nats. */
export function surprise(logits: ArrayLike<number>, scale: number, index: number): number {
  let most = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; i++) most = Math.max(most, logits[i])
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] - most) / scale)
  return (most - logits[index]) / scale + Math.log(sum)
}
