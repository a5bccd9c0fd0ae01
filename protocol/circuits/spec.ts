/** Circuits by description, so that another thread or party can build the same. */
import { compileProgram, type Program } from '../garbling/program.js'
import { type ActivationShape, activationCircuit } from './activation.js'
import { argmaxCircuit, topCircuit } from './argmax.js'
import type { Circuit } from './builder.js'

export type CircuitSpec =
  | { readonly kind: 'activation'; readonly shape: ActivationShape }
  | { readonly kind: 'argmax'; readonly classes: number; readonly ring: number; readonly count: number }

function circuitOf(spec: CircuitSpec): Circuit {
  if (spec.kind === 'activation') return activationCircuit(spec.shape)
  const { classes, ring, count } = spec
  return count === 1 ? argmaxCircuit(classes, ring) : topCircuit(classes, ring, count)
}

/** Programs kept; a model has one a stage. */
const MAX_KEPT = 256
const programs = new Map<string, Program>()

/** The compiled circuit of a description. */
export function programOf(spec: CircuitSpec): Program {
  const key = JSON.stringify(spec)
  let program = programs.get(key)
  if (program === undefined) {
    program = compileProgram(circuitOf(spec))
    if (programs.size === MAX_KEPT) programs.clear()
    programs.set(key, program)
  }
  return program
}
