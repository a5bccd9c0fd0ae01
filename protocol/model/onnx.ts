/**
 * Reads ONNX files with ONNX's own schema (onnx.proto, kept as onnx.json) and protobufjs. Nothing is interpreted here
 * beyond tensors and attributes; lower.ts gives them meaning.
 */
import protobuf from 'protobufjs'
import { MinionnError } from '../errors.js'
import schema from './onnx.json' with { type: 'json' }

export interface Tensor {
  readonly name: string
  readonly shape: readonly number[]
  /** Floats, or integers of shape tensors; int64 beyond 2^53 is refused. */
  readonly data: Float64Array
  /** Of an integer type: division cuts off what is behind the point. */
  readonly integer?: boolean
}

export type Attribute = number | string | readonly number[] | readonly string[] | Tensor

export interface OnnxNode {
  readonly name: string
  /** With its domain where that is not ONNX's own. */
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: ReadonlyMap<string, Attribute>
}

export interface OnnxGraph {
  readonly opset: number
  readonly nodes: readonly OnnxNode[]
  readonly initializers: ReadonlyMap<string, Tensor>
  /** Inputs that are not initializers; null where a dimension is symbolic. */
  readonly inputs: readonly { readonly name: string; readonly shape: readonly (number | null)[] }[]
  readonly outputs: readonly string[]
}

interface RawTensor {
  dims?: number[]
  data_type?: number
  float_data?: number[]
  double_data?: number[]
  int32_data?: number[]
  int64_data?: (number | string)[]
  raw_data?: Uint8Array
  name?: string
  data_location?: number
}
interface RawAttribute {
  name?: string
  type?: number
  f?: number
  i?: number
  s?: Uint8Array
  t?: RawTensor
  floats?: number[]
  strings?: Uint8Array[]
  ints?: number[]
}
interface RawNode {
  name?: string
  op_type?: string
  domain?: string
  input?: string[]
  output?: string[]
  attribute?: RawAttribute[]
}
interface RawValue {
  name?: string
  type?: { tensor_type?: { shape?: { dim?: { dim_value?: number }[] } } }
}
interface RawModel {
  opset_import?: { domain?: string; version?: number }[]
  graph?: {
    node?: RawNode[]
    initializer?: RawTensor[]
    sparse_initializer?: unknown[]
    input?: RawValue[]
    output?: RawValue[]
  }
}

const root = protobuf.Root.fromJSON(schema as protobuf.INamespace)

function decodeMessage<T>(type: string, bytes: Uint8Array, what: string): T {
  try {
    const message = root.lookupType(`onnx.${type}`)
    return message.toObject(message.decode(bytes), { longs: Number }) as T
  } catch (cause) {
    throw new MinionnError(
      'BAD_MODEL',
      `${what} does not parse as ONNX: the file is truncated, damaged or of another kind`,
      {
        cause,
      },
    )
  }
}

const FLOAT = 1
const UINT8 = 2
const INT8 = 3
const INT32 = 6
const INT64 = 7
const BOOL = 9
const FLOAT16 = 10
const DOUBLE = 11
const BFLOAT16 = 16

function decodeTensor(raw: RawTensor, what: string): Tensor {
  const shape = raw.dims ?? []
  const count = shape.reduce((product, dim) => product * dim, 1)
  if (raw.data_location === 1) {
    throw new MinionnError(
      'BAD_MODEL',
      `${what} keeps its data in another file; save the model with its weights inside (onnx.save without external data)`,
    )
  }
  const data = tensorData(raw, what)
  if (data.length !== count) {
    throw new MinionnError('BAD_MODEL', `${what} has shape [${shape}], ${count} values, but holds ${data.length}`)
  }
  const integer = raw.data_type === INT32 || raw.data_type === INT64
  return { name: raw.name ?? '', shape, data, ...(integer && { integer }) }
}

function tensorData(raw: RawTensor, what: string): Float64Array {
  const bytes = raw.raw_data !== undefined && raw.raw_data.length > 0 ? raw.raw_data : undefined
  const width = {
    [UINT8]: 1,
    [INT8]: 1,
    [BOOL]: 1,
    [FLOAT]: 4,
    [INT32]: 4,
    [INT64]: 8,
    [DOUBLE]: 8,
    [FLOAT16]: 2,
    [BFLOAT16]: 2,
  }[raw.data_type ?? 0]
  if (width === undefined) {
    throw new MinionnError(
      'BAD_MODEL',
      `${what} has ONNX data type ${raw.data_type}; float, double, float16, an integer of 8, 32 or 64 bits or bool is expected`,
    )
  }
  if (bytes !== undefined && bytes.length % width !== 0) {
    throw new MinionnError('BAD_MODEL', `${what} holds ${bytes.length} bytes, which is no multiple of ${width}`)
  }
  const view = bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const read = (get: (view: DataView, at: number) => number) =>
    Float64Array.from({ length: view!.byteLength / width }, (_, i) => get(view!, i * width))
  switch (raw.data_type) {
    case FLOAT:
      return view ? read((v, at) => v.getFloat32(at, true)) : Float64Array.from(raw.float_data ?? [])
    case DOUBLE:
      return view ? read((v, at) => v.getFloat64(at, true)) : Float64Array.from(raw.double_data ?? [])
    case UINT8:
    case INT8:
    case BOOL: {
      const get = (v: DataView, at: number) => (raw.data_type === INT8 ? v.getInt8(at) : v.getUint8(at))
      return view ? read(get) : Float64Array.from(raw.int32_data ?? [])
    }
    case INT32:
      return view ? read((v, at) => v.getInt32(at, true)) : Float64Array.from(raw.int32_data ?? [])
    case INT64:
      return view
        ? read((v, at) => Number(v.getBigInt64(at, true)))
        : Float64Array.from((raw.int64_data ?? []).map(Number))
    case FLOAT16:
      return view
        ? read((v, at) => halfToFloat(v.getUint16(at, true)))
        : Float64Array.from((raw.int32_data ?? []).map(halfToFloat))
    default: {
      const widen = (half: number) => new Float32Array(Uint32Array.of(half << 16).buffer)[0]
      return view ? read((v, at) => widen(v.getUint16(at, true))) : Float64Array.from((raw.int32_data ?? []).map(widen))
    }
  }
}

/** IEEE 754 binary16. */
function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0 ? (sign * fraction) / 2 ** 24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** A tensor file (serialised TensorProto). Shape as stored. Throws BAD_MODEL. */
export function parseTensor(bytes: Uint8Array, what: string): Tensor {
  const raw = decodeMessage<RawTensor>('TensorProto', bytes, what)
  return decodeTensor(raw, what)
}

/** An ONNX model file. Throws BAD_MODEL in words. */
export function parseOnnx(bytes: Uint8Array): OnnxGraph {
  const model = decodeMessage<RawModel>('ModelProto', bytes, 'the model')
  const graph = model.graph
  if (graph === undefined || (graph.node ?? []).length === 0) {
    throw new MinionnError('BAD_MODEL', 'the file holds no ONNX graph: it is empty, truncated or of another kind')
  }
  if ((graph.sparse_initializer ?? []).length > 0) {
    throw new MinionnError(
      'BAD_MODEL',
      'the model has sparse initializers, which are not supported; store dense weights',
    )
  }
  const initializers = new Map<string, Tensor>()
  for (const raw of graph.initializer ?? []) {
    const tensor = decodeTensor(raw, `initializer "${raw.name}"`)
    const bad = tensor.data.findIndex((value) => !Number.isFinite(value))
    if (bad >= 0) {
      throw new MinionnError(
        'BAD_MODEL',
        `initializer "${raw.name}" holds ${tensor.data[bad]} at position ${bad}; every weight must be a finite number`,
      )
    }
    initializers.set(tensor.name, tensor)
  }
  const nodes = (graph.node ?? []).map((raw, i) => decodeNode(raw, i))
  const opset = (model.opset_import ?? []).find((entry) => !entry.domain || entry.domain === 'ai.onnx')?.version ?? 1
  return {
    opset,
    nodes,
    initializers,
    inputs: (graph.input ?? [])
      .filter((value) => !initializers.has(value.name ?? ''))
      .map((value) => ({
        name: value.name ?? '',
        shape: (value.type?.tensor_type?.shape?.dim ?? []).map((dim) => dim.dim_value || null),
      })),
    outputs: (graph.output ?? []).map((value) => value.name ?? ''),
  }
}

function decodeNode(raw: RawNode, position: number): OnnxNode {
  const foreign = raw.domain && raw.domain !== 'ai.onnx' ? `${raw.domain}.` : ''
  const op = `${foreign}${raw.op_type ?? ''}`
  const name = raw.name || raw.output?.[0] || `#${position}`
  const attributes = new Map<string, Attribute>()
  for (const attribute of raw.attribute ?? []) {
    const value = attributeValue(attribute, `node "${name}", attribute "${attribute.name}"`)
    if (value !== undefined) attributes.set(attribute.name ?? '', value)
  }
  return { name, op, inputs: raw.input ?? [], outputs: raw.output ?? [], attributes }
}

function attributeValue(raw: RawAttribute, what: string): Attribute | undefined {
  // Exports of 2017 leave the type out: the field that is there tells.
  if (raw.t !== undefined) return decodeTensor(raw.t, what)
  if (raw.ints !== undefined && raw.ints.length > 0) return raw.ints
  if (raw.floats !== undefined && raw.floats.length > 0) return raw.floats
  if (raw.strings !== undefined && raw.strings.length > 0) return raw.strings.map((s) => new TextDecoder().decode(s))
  if (raw.s !== undefined && (raw.type === 3 || raw.s.length > 0)) return new TextDecoder().decode(raw.s)
  if (raw.type === 1) return raw.f ?? 0
  if (raw.type === 2) return raw.i ?? 0
  if (raw.type === 6 || raw.type === 7) return []
  return raw.f ?? raw.i
}
