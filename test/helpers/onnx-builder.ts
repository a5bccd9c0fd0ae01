/** Builds ONNX files for tests with ONNX's own schema. */
import protobuf from 'protobufjs'
import schema from '../../protocol/model/onnx.json' with { type: 'json' }

const root = protobuf.Root.fromJSON(schema as protobuf.INamespace)

export interface NodeSpec {
  op: string
  inputs: string[]
  output: string | string[]
  attributes?: Record<string, number | string | number[]>
  domain?: string
}

export interface ModelSpec {
  input?: (number | string)[]
  /** Further inputs. */
  more?: Record<string, (number | string)[]>
  nodes: NodeSpec[]
  weights?: Record<string, { dims: number[]; data: number[] }>
  output?: string | string[]
  opset?: number
  /** List initializers among the inputs as well, as old PyTorch does. */
  weightsAsInputs?: boolean
}

const dims = (shape: (number | string)[]) =>
  shape.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d }))
const value = (name: string, shape: (number | string)[]) => ({
  name,
  type: { tensor_type: { elem_type: 1, shape: { dim: dims(shape) } } },
})

function attribute(name: string, v: number | string | number[]) {
  if (typeof v === 'string') return { name, type: 3, s: new TextEncoder().encode(v) }
  if (Array.isArray(v)) return { name, type: 7, ints: v }
  return Number.isInteger(v) ? { name, type: 2, i: v } : { name, type: 1, f: v }
}

export function onnxModel(spec: ModelSpec): Uint8Array {
  const type = root.lookupType('onnx.ModelProto')
  const weights = Object.entries(spec.weights ?? {})
  return type
    .encode(
      type.create({
        ir_version: 7,
        opset_import: [{ domain: '', version: spec.opset ?? 13 }],
        graph: {
          name: 'test',
          node: spec.nodes.map((n, i) => ({
            name: `node_${i}`,
            op_type: n.op,
            domain: n.domain ?? '',
            input: n.inputs,
            output: [n.output].flat(),
            attribute: Object.entries(n.attributes ?? {}).map(([name, v]) => attribute(name, v)),
          })),
          initializer: weights.map(([name, w]) => ({
            name,
            dims: w.dims,
            data_type: name.startsWith('shape') ? 7 : 1,
            ...(name.startsWith('shape') ? { int64_data: w.data } : { float_data: w.data }),
          })),
          input: [
            value('x', spec.input ?? [1, 4]),
            ...Object.entries(spec.more ?? {}).map(([name, shape]) => value(name, shape)),
            ...(spec.weightsAsInputs ? weights.map(([name, w]) => value(name, w.dims)) : []),
          ],
          output: [spec.output ?? spec.nodes[spec.nodes.length - 1].output].flat().map((name) => value(name, [])),
        },
      }),
    )
    .finish()
}

export function tensorProto(shape: number[], data: number[]): Uint8Array {
  const type = root.lookupType('onnx.TensorProto')
  return type.encode(type.create({ dims: shape, data_type: 1, float_data: data })).finish()
}
