/** Circuits by description, so that another thread or party can build the same. */
import { compileProgram, type Program } from '../garbling/program.js'
import { type ActivationShape, activationCircuit } from './activation.js'
import { argmaxCircuit } from './argmax.js'

export type CircuitSpec =
  | { readonly kind: 'activation'; readonly shape: ActivationShape }
  | { readonly kind: 'argmax'; readonly classes: number; readonly ring: number }

/** Programs kept; a model has one a stage. */
const MAX_KEPT = 256
const programs = new Map<string, Program>()

/** The compiled circuit of a description. */
export function programOf(spec: CircuitSpec): Program {
  const key = JSON.stringify(spec)
  let program = programs.get(key)
  if (program === undefined) {
    const circuit = spec.kind === 'activation' ? activationCircuit(spec.shape) : argmaxCircuit(spec.classes, spec.ring)
    program = compileProgram(circuit)
    if (programs.size === MAX_KEPT) programs.clear()
    programs.set(key, program)
  }
  return program
}
