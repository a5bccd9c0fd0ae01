/**
 * Turns a user's file into inputs of a model: images by the card's normalisation, .npy, .json, raw .f32 and ONNX
 * TensorProtos as they are. A file may hold a batch; one inference is made for each row.
 */
import { extname } from 'node:path'
import sharp from 'sharp'
import { MinionnError } from '../protocol/errors.js'
import { MAX_INPUT_BYTES } from '../protocol/limits.js'
import { type Card, type ImageInput, normalisation } from '../protocol/model/card.js'
import { elements } from '../protocol/model/layers.js'
import { parseTensor } from '../protocol/model/onnx.js'

const IMAGE = new Set(['.png', '.jpg', '.jpeg'])
const TENSOR = new Set(['.tensor', '.pb', '.onnx'])

/** As much of a plan as says how inputs look. */
export interface InputShape {
  readonly card: Card
  readonly input: { readonly shape: readonly number[] }
}

/** The inputs in a file: each plan.input.shape elements, row-major. Throws BAD_INPUT. */
export async function readInputs(name: string, bytes: Uint8Array, plan: InputShape): Promise<Float64Array[]> {
  if (bytes.length > MAX_INPUT_BYTES) bad(name, `it has ${bytes.length} bytes; at most ${MAX_INPUT_BYTES} are accepted`)
  if (bytes.length === 0) bad(name, 'it is empty')
  const extension = extname(name).toLowerCase()
  if (IMAGE.has(extension)) {
    if (plan.card.input.kind !== 'image')
      bad(name, `the model takes a tensor of shape [${plan.input.shape}], not an image`)
    return [await readImage(name, bytes, plan.card.input, plan.input.shape)]
  }
  if (extension === '.txt') return readText(name, bytes, plan)
  if (extension === '.npy') return rows(name, readNpy(name, bytes), plan)
  if (extension === '.json') return rows(name, readJson(name, bytes), plan)
  if (extension === '.f32') return rows(name, readRaw(name, bytes), plan)
  if (TENSOR.has(extension)) return rows(name, readTensorProto(name, bytes), plan)
  bad(
    name,
    `its ending "${extension}" is not known; .png, .jpg, .npy, .json, .f32, .tensor (an ONNX TensorProto) or .txt (words) is expected`,
  )
}

function bad(name: string, problem: string): never {
  throw new MinionnError('BAD_INPUT', `${name}: ${problem}`)
}

interface Values {
  readonly data: Float64Array
  readonly shape: string
}

/** Cuts values into rows of the model's input size. */
function rows(name: string, { data, shape }: Values, plan: InputShape): Float64Array[] {
  const size = elements(plan.input.shape)
  if (data.length === 0 || data.length % size !== 0) {
    bad(
      name,
      `it holds ${data.length} values (${shape}); the model takes [${plan.input.shape}], ${size} values, or several of them`,
    )
  }
  const bad_ = data.findIndex((value) => !Number.isFinite(value))
  if (bad_ >= 0) bad(name, `the value at position ${bad_} is ${data[bad_]}; finite numbers are expected`)
  return Array.from({ length: data.length / size }, (_, i) => data.slice(i * size, (i + 1) * size))
}

async function readImage(
  name: string,
  bytes: Uint8Array,
  input: ImageInput,
  shape: readonly number[],
): Promise<Float64Array> {
  const [height, width] = input.size
  const channels = input.mode === 'rgb' ? 3 : 1
  const limit = 64 * 1024 * 1024
  let image: { data: Uint8Array; info: { width: number; height: number; channels: number } }
  try {
    const opened = sharp(bytes, { limitInputPixels: limit, failOn: 'error' }).removeAlpha()
    const coloured = channels === 3 ? opened.toColourspace('srgb') : opened.toColourspace('b-w')
    image = await coloured.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  } catch {
    bad(name, 'it is not a PNG or JPEG image, or it is damaged')
  }
  const { info } = image
  if (info.width !== width || info.height !== height) {
    bad(name, `the image is ${info.width}x${info.height}; the model takes ${width}x${height}. Resize it first`)
  }
  // A grey PNG for a colour model has one channel, the same in all three.
  const { mean, std } = normalisation(input)
  const area = width * height
  // [height, width, channels], as Keras has it, or [channels, height, width].
  const channelsLast = shape.length === 3 && shape[2] === channels && shape[0] === height
  return Float64Array.from({ length: channels * area }, (_, i) => {
    const [c, place] = channelsLast ? [i % channels, Math.floor(i / channels)] : [Math.floor(i / area), i % area]
    const pixel = image.data[place * info.channels + (info.channels >= channels ? c : 0)]
    return (pixel * input.scale - mean[c]) / std[c]
  })
}

const END_OF_SENTENCE = '<eos>'
const UNKNOWN_WORD = '<unk>'

/** Words of a text, by the card's labels, or numbers where it has none, as one-hot inputs. Line ends are words where there is one for them. */
function readText(name: string, bytes: Uint8Array, plan: InputShape): Float64Array[] {
  if (plan.card.input.kind !== 'one-hot') bad(name, 'it is a text; this model does not take words')
  const size = elements(plan.input.shape)
  const { labels } = plan.card
  const known = labels?.length === size ? new Map(labels.map((label, i) => [label, i])) : undefined
  const lines = new TextDecoder().decode(bytes).split('\n')
  const end = known?.has(END_OF_SENTENCE) ? [END_OF_SENTENCE] : []
  const words = lines.flatMap((line, i) => [
    ...line.split(/\s+/).filter((word) => word !== ''),
    ...(i < lines.length - 1 ? end : []),
  ])
  if (words.length === 0) bad(name, 'it has no words')
  return words.map((word) => {
    const index = known === undefined ? Number(word) : (known.get(word) ?? known.get(UNKNOWN_WORD))
    if (index === undefined || !Number.isInteger(index) || index < 0 || index >= size) {
      const expected =
        known === undefined
          ? `numbers from 0 to ${size - 1}, since its card has no label for each input,`
          : 'words among its labels'
      bad(name, `"${word.slice(0, 80)}" is not known to the model; ${expected} are expected`)
    }
    const row = new Float64Array(size)
    row[index] = 1
    return row
  })
}

function readRaw(name: string, bytes: Uint8Array): Values {
  if (bytes.length % 4 !== 0) bad(name, `raw float32 needs a multiple of 4 bytes, it has ${bytes.length}`)
  const copy = Uint8Array.from(bytes)
  return { data: Float64Array.from(new Float32Array(copy.buffer)), shape: 'raw float32' }
}

function readJson(name: string, bytes: Uint8Array): Values {
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    bad(name, 'it is not JSON')
  }
  const flat: number[] = []
  const walk = (value: unknown) => {
    if (typeof value === 'number') flat.push(value)
    else if (Array.isArray(value)) value.forEach(walk)
    else bad(name, `it holds ${value === null ? 'null' : typeof value}; (nested) lists of numbers are expected`)
  }
  walk(parsed)
  return { data: Float64Array.from(flat), shape: 'JSON' }
}

function readTensorProto(name: string, bytes: Uint8Array): Values {
  try {
    const tensor = parseTensor(bytes, 'it')
    return { data: tensor.data, shape: `TensorProto [${tensor.shape}]` }
  } catch (error) {
    if (error instanceof MinionnError) bad(name, error.message)
    throw error
  }
}

/** NumPy's .npy, versions 1 to 3, C order: numpy.lib.format. */
function readNpy(name: string, bytes: Uint8Array): Values {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || view.getUint32(0) !== 0x934e554d || view.getUint16(4) !== 0x5059)
    bad(name, 'it is not a .npy file')
  const wide = bytes[6] >= 2
  const headerLength = wide ? view.getUint32(8, true) : view.getUint16(8, true)
  const start = (wide ? 12 : 10) + headerLength
  if (start > bytes.length) bad(name, 'the .npy file is cut off')
  const header = new TextDecoder('latin1').decode(bytes.subarray(wide ? 12 : 10, start))
  const type = /'descr':\s*'([^']+)'/.exec(header)?.[1] ?? '?'
  if (!/'fortran_order':\s*False/.test(header))
    bad(name, 'the array is in Fortran order; save it with numpy.ascontiguousarray')
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? ''
  const little = !type.startsWith('>')
  const readers: Record<string, [number, (at: number) => number]> = {
    f4: [4, (at) => view.getFloat32(at, little)],
    f8: [8, (at) => view.getFloat64(at, little)],
    u1: [1, (at) => view.getUint8(at)],
    i1: [1, (at) => view.getInt8(at)],
    i2: [2, (at) => view.getInt16(at, little)],
    i4: [4, (at) => view.getInt32(at, little)],
    i8: [8, (at) => Number(view.getBigInt64(at, little))],
  }
  const reader = readers[type.slice(1)]
  if (reader === undefined) bad(name, `arrays of type ${type} are not supported; save float32`)
  const [width, get] = reader
  const count = shape
    .split(',')
    .filter((s) => s.trim() !== '')
    .reduce((product, s) => product * Number(s), 1)
  if (start + count * width !== bytes.length) bad(name, `the .npy file is cut off or too long for its shape (${shape})`)
  return { data: Float64Array.from({ length: count }, (_, i) => get(start + i * width)), shape: `array (${shape})` }
}
