/**
 * Polynomial coefficient packing of linear maps: Huang, Lu, Hong, Ding, "Cheetah", USENIX Security 2022, sections 4.1
 * and 4.2. One negacyclic product of an input polynomial and a weight polynomial yields many dot products at known
 * coefficients. Large images are cut into tiles, grouped convolutions into groups; strides leave coefficients unused.
 *
 * Both parties derive the same packing from the public geometry.
 */

import type { ConvGeometry, DenseGeometry } from '../ring/linear.js'

/** Polynomial degree of the BFV ring. */
export const DEGREE = 4096

export interface Packing {
  /** Bundles that share one set of ciphertexts. */
  readonly bundles: number
  /** Ciphertexts up and down per set. */
  readonly inputs: number
  readonly outputs: number
  /** Writes input ciphertext i's plaintext from each bundle's vector. `out` arrives zeroed, DEGREE long. */
  packInput(i: number, vectors: readonly Uint32Array[], out: Uint32Array): void
  /** Input ciphertexts that output ciphertext o depends on. */
  sources(o: number): number[]
  /** Equal keys mean equal weight polynomials. */
  weightKey(i: number, o: number): string
  /** Writes the weight polynomial between input i and output o. `out` arrives zeroed. */
  packWeights(i: number, o: number, weights: Int32Array, out: Int32Array): void
  /** Where output ciphertext o holds results: coefficient `at[n]` belongs to output element `index[n]` of `bundle[n]`. */
  results(o: number): { at: Int32Array; index: Int32Array; bundle: Int32Array }
}

/** Relative costs: encryption and 57 KB up; product and sum; masking, decryption and 20 KB down. */
const INPUT_COST = 2000
const PRODUCT_COST = 60
const OUTPUT_COST = 1600

/** The cheapest packing of a linear map for a batch of bundles. */
export function packingOf(geometry: ConvGeometry | DenseGeometry, batch: number): Packing {
  const packing = geometry.kind === 'dense' ? packDense(geometry, batch) : packConvolution(geometry, batch)
  const results = new Map<number, ReturnType<Packing['results']>>()
  // Every set of a batch asks for the same.
  return {
    ...packing,
    results(o) {
      const known = results.get(o) ?? packing.results(o)
      results.set(o, known)
      return known
    },
  }
}

function cost(sets: number, inputs: number, outputs: number, products: number): number {
  return sets * (inputs * INPUT_COST + products * PRODUCT_COST + outputs * OUTPUT_COST)
}

function packDense(geometry: DenseGeometry, batch: number): Packing {
  let best = { iw: 1, ow: 1, bw: 1, cost: Number.POSITIVE_INFINITY }
  for (let bw = 1; bw <= batch; bw++) {
    for (let nin = Math.ceil((geometry.inputs * bw) / DEGREE); nin <= geometry.inputs; nin++) {
      const iw = Math.ceil(geometry.inputs / nin)
      const ow = Math.min(geometry.outputs, Math.floor(DEGREE / (iw * bw)))
      const ins = Math.ceil(geometry.inputs / iw)
      const outs = Math.ceil(geometry.outputs / ow)
      const candidate = cost(Math.ceil(batch / bw), ins, outs, ins * outs)
      if (candidate < best.cost) best = { iw, ow, bw, cost: candidate }
      if (ins * INPUT_COST * Math.ceil(batch / bw) > best.cost) break
    }
  }
  const { iw, ow, bw } = best
  const inputs = Math.ceil(geometry.inputs / iw)
  const outputs = Math.ceil(geometry.outputs / ow)
  return {
    bundles: bw,
    inputs,
    outputs,
    packInput(block, vectors, out) {
      vectors.forEach((vector, b) => {
        for (let i = 0; i < iw && block * iw + i < geometry.inputs; i++) {
          out[b * ow * iw + (iw - 1 - i)] = vector[block * iw + i]
        }
      })
    },
    sources: () => Array.from({ length: inputs }, (_, i) => i),
    weightKey: (i, o) => `${i}/${o}`,
    packWeights(inBlock, outBlock, weights, out) {
      for (let o = 0; o < ow && outBlock * ow + o < geometry.outputs; o++) {
        const row = (outBlock * ow + o) * geometry.inputs + inBlock * iw
        for (let i = 0; i < iw && inBlock * iw + i < geometry.inputs; i++) out[o * iw + i] = weights[row + i]
      }
    },
    results(block) {
      const count = Math.min(ow, geometry.outputs - block * ow)
      return enumerate(bw * count, (n) => {
        const b = Math.floor(n / count)
        const o = n % count
        return [(b * ow + o) * iw + iw - 1, block * ow + o, b]
      })
    },
  }
}

function enumerate(count: number, entry: (n: number) => [at: number, index: number, bundle: number]) {
  const at = new Int32Array(count)
  const index = new Int32Array(count)
  const bundle = new Int32Array(count)
  for (let n = 0; n < count; n++) [at[n], index[n], bundle[n]] = entry(n)
  return { at, index, bundle }
}

/** A rectangle of outputs and the inputs it needs, in image coordinates. */
interface Tile {
  readonly outY: number
  readonly outX: number
  readonly outHeight: number
  readonly outWidth: number
  /** First input row and column held, and how many. */
  readonly y: number
  readonly x: number
  readonly height: number
  readonly width: number
  /** Zero rows above and columns left of them that the first output's window reaches into. */
  readonly padTop: number
  readonly padLeft: number
  /** S: distance of rows; U: of channels. The padding of a row serves as that of the next. */
  readonly rowStride: number
  readonly channelStride: number
}

function tileOf(g: ConvGeometry, outY: number, outX: number, outHeight: number, outWidth: number): Tile {
  const span = (axis: 0 | 1, start: number, count: number) => {
    const extent = (g.kernel[axis] - 1) * g.dilations[axis] + 1
    const from = start * g.strides[axis] - g.pads[axis]
    const to = (start + count - 1) * g.strides[axis] - g.pads[axis] + extent
    const first = Math.min(Math.max(0, from), g.input[1 + axis] - 1)
    const last = Math.max(Math.min(g.input[1 + axis], to), first + 1)
    return { first, size: last - first, before: first - from, after: Math.max(0, to - last) }
  }
  const rows = span(0, outY, outHeight)
  const columns = span(1, outX, outWidth)
  const rowStride = columns.size + Math.max(0, columns.before, columns.after)
  return {
    outY,
    outX,
    outHeight,
    outWidth,
    y: rows.first,
    x: columns.first,
    height: rows.size,
    width: columns.size,
    padTop: rows.before,
    padLeft: columns.before,
    rowStride,
    channelStride: (rows.size + Math.max(0, rows.before, rows.after)) * rowStride,
  }
}

/** The fewest equal tiles whose input fits one polynomial. */
function tilesOf(g: ConvGeometry): Tile[] {
  const [, outHeight, outWidth] = g.output
  const cut = (rows: number, columns: number) => {
    const th = Math.ceil(outHeight / rows)
    const tw = Math.ceil(outWidth / columns)
    const tiles: Tile[] = []
    for (let y = 0; y < outHeight; y += th) {
      for (let x = 0; x < outWidth; x += tw) {
        tiles.push(tileOf(g, y, x, Math.min(th, outHeight - y), Math.min(tw, outWidth - x)))
      }
    }
    return tiles
  }
  for (let pieces = 1; ; pieces++) {
    // Strips of rows first; columns are cut only when a strip of one row is still too wide.
    const rows = Math.min(pieces, outHeight)
    const columns = Math.min(Math.max(1, pieces - outHeight + 1), outWidth)
    const tiles = cut(rows, columns)
    if (tiles.every((tile) => tile.channelStride <= DEGREE)) return tiles
    if (rows === outHeight && columns === outWidth) {
      throw new RangeError(`a ${g.kernel.join('x')} kernel does not fit a polynomial of ${DEGREE} coefficients`)
    }
  }
}

function packConvolution(g: ConvGeometry, batch: number): Packing {
  const tiles = tilesOf(g)
  const [channels, height, width] = g.input
  const [filters, outHeight, outWidth] = g.output
  const channelsPerGroup = channels / g.groups
  const filtersPerGroup = filters / g.groups
  const largest = Math.max(...tiles.map((tile) => tile.channelStride))
  const capacity = Math.floor(DEGREE / largest)
  let best = { cw: 1, mw: 1, bw: 1, cost: Number.POSITIVE_INFINITY }
  for (let bw = 1; bw <= Math.min(batch, capacity); bw++) {
    for (let cw = 1; cw <= Math.min(channelsPerGroup, Math.floor(capacity / bw)); cw++) {
      const mw = Math.min(filtersPerGroup, Math.floor(capacity / (bw * cw)))
      const ins = Math.ceil(channelsPerGroup / cw)
      const outs = Math.ceil(filtersPerGroup / mw)
      const candidate = cost(Math.ceil(batch / bw), ins, outs, ins * outs)
      if (candidate < best.cost) best = { cw, mw, bw, cost: candidate }
    }
  }
  const { cw, mw, bw } = best
  const inBlocks = Math.ceil(channelsPerGroup / cw)
  const outBlocks = Math.ceil(filtersPerGroup / mw)
  const perTileIn = g.groups * inBlocks
  const perTileOut = g.groups * outBlocks
  const [kh, kw] = g.kernel
  const origin = (tile: Tile) => (kh - 1) * g.dilations[0] * tile.rowStride + (kw - 1) * g.dilations[1]
  const input = (i: number) => ({
    tile: tiles[Math.floor(i / perTileIn)],
    group: Math.floor((i % perTileIn) / inBlocks),
    block: i % inBlocks,
  })
  const output = (o: number) => ({
    tile: tiles[Math.floor(o / perTileOut)],
    group: Math.floor((o % perTileOut) / outBlocks),
    block: o % outBlocks,
  })
  return {
    bundles: bw,
    inputs: tiles.length * perTileIn,
    outputs: tiles.length * perTileOut,
    packInput(i, vectors, out) {
      const { tile, group, block } = input(i)
      vectors.forEach((vector, b) => {
        for (let c = 0; c < cw && block * cw + c < channelsPerGroup; c++) {
          const image = (group * channelsPerGroup + block * cw + c) * height * width
          const base = (b * mw * cw + c) * tile.channelStride
          for (let y = 0; y < tile.height; y++) {
            for (let x = 0; x < tile.width; x++) {
              out[base + y * tile.rowStride + x] = vector[image + (tile.y + y) * width + tile.x + x]
            }
          }
        }
      })
    },
    sources(o) {
      const { group } = output(o)
      const first = Math.floor(o / perTileOut) * perTileIn + group * inBlocks
      return Array.from({ length: inBlocks }, (_, n) => first + n)
    },
    weightKey(i, o) {
      const { tile, group, block } = output(o)
      return `${tile.rowStride}:${tile.channelStride}/${group}/${input(i).block}/${block}`
    },
    packWeights(i, o, weights, out) {
      const { tile, group, block } = output(o)
      const inBlock = input(i).block
      for (let m = 0; m < mw && block * mw + m < filtersPerGroup; m++) {
        const filter = group * filtersPerGroup + block * mw + m
        for (let c = 0; c < cw && inBlock * cw + c < channelsPerGroup; c++) {
          const from = (filter * channelsPerGroup + inBlock * cw + c) * kh * kw
          const base = (m * cw + cw - 1 - c) * tile.channelStride + origin(tile)
          for (let l = 0; l < kh; l++) {
            for (let k = 0; k < kw; k++) {
              out[base - l * g.dilations[0] * tile.rowStride - k * g.dilations[1]] = weights[from + l * kw + k]
            }
          }
        }
      }
    },
    results(o) {
      const { tile, group, block } = output(o)
      const count = Math.min(mw, filtersPerGroup - block * mw)
      const area = tile.outHeight * tile.outWidth
      return enumerate(bw * count * area, (n) => {
        const b = Math.floor(n / (count * area))
        const m = Math.floor(n / area) % count
        const y = Math.floor((n % area) / tile.outWidth)
        const x = n % tile.outWidth
        const local = (y * g.strides[0] - tile.padTop) * tile.rowStride + x * g.strides[1] - tile.padLeft + origin(tile)
        const at = ((b * mw + m) * cw + cw - 1) * tile.channelStride + local
        const filter = group * filtersPerGroup + block * mw + m
        return [at, (filter * outHeight + tile.outY + y) * outWidth + tile.outX + x, b]
      })
    },
  }
}
