/** What `model check` finds out about a model without adding it: its plan and costs, and how close the integers come. */
import { calibrationInputs } from '../protocol/model/calibration.js'
import { inputRange } from '../protocol/model/card.js'
import { type CompileOptions, compileNetwork } from '../protocol/model/compile.js'
import { runFloatStep } from '../protocol/model/float.js'
import { argmax, quantiseInput, runReferenceStep } from '../protocol/model/reference.js'
import type { Opened } from './import.js'
import { type PlanSummary, summarisePlan } from './plan-summary.js'

export interface ModelCheck extends PlanSummary {
  readonly assumptions: readonly string[]
  /** Position of the stage with the most online bytes; undefined where none is garbled. */
  readonly dominating: number | undefined
  /** The integer model against the float model, on the samples or on synthetic inputs. */
  readonly accuracy: {
    readonly inputs: number
    readonly synthetic: boolean
    /** Inputs on which both have the same largest output. */
    readonly sameLabel: number
    /** Of the outputs, and of the float outputs for comparison. */
    readonly largestError: number
    readonly largestOutput: number
  }
}

/** Compiles the model and runs it both ways. Throws BAD_MODEL where it cannot be compiled, BAD_INPUT for samples out of range. */
export function checkModel(opened: Opened, options: CompileOptions): ModelCheck {
  const { network, card, assumptions } = opened
  const model = compileNetwork(network, card, options)
  const summary = summarisePlan(model.published)
  const { plan } = model.published.manifest
  const [low, high] = inputRange(card)
  const samples = options.samples ?? calibrationInputs(network.inputShape, low, high, plan.input.oneHot)
  let sameLabel = 0
  let largestError = 0
  let largestOutput = 0
  // Of a recurrent model the samples are the steps of one session; of others there are no states to take up.
  let states: { readonly floats: Float64Array[]; readonly integers: Uint32Array[] } | undefined
  for (const sample of samples) {
    const { outputs: float, states: floats } = runFloatStep(network, sample, states?.floats)
    const input = quantiseInput(plan, sample)
    const { outputs, states: integers } = runReferenceStep(plan, model.secret, input, states?.integers)
    states = { floats, integers }
    sameLabel += Number(argmax(float) === argmax(outputs))
    float.forEach((value, i) => {
      largestError = Math.max(largestError, Math.abs(outputs[i] / plan.output.scale - value))
      largestOutput = Math.max(largestOutput, Math.abs(value))
    })
  }
  const bytes = summary.stages.map((stage) => stage.bytes)
  const most = Math.max(...bytes)
  return {
    ...summary,
    assumptions,
    dominating: most > 0 ? bytes.indexOf(most) : undefined,
    accuracy: {
      inputs: samples.length,
      synthetic: options.samples === undefined,
      sameLabel,
      largestError,
      largestOutput,
    },
  }
}
