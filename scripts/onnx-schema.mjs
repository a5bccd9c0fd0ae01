// Regenerates protocol/model/onnx.json, ONNX's own schema as protobufjs reads it, from protocol/model/onnx.proto.
import { readFileSync, writeFileSync } from 'node:fs'
import protobuf from 'protobufjs'

const source = readFileSync(new URL('../protocol/model/onnx.proto', import.meta.url), 'utf8')
const { root } = protobuf.parse(source, { keepCase: true })
writeFileSync(new URL('../protocol/model/onnx.json', import.meta.url), `${JSON.stringify(root.toJSON(), null, 1)}\n`)
