/**
 * A network whose products are rescaled before weights are applied to them: products have the bits of both factors, and behind weights
 * no ring may hold what they add up to.
 */
import { linearSize, type Network, type NetworkStage } from './layers.js'

/** The rescaled network; undefined where no product reaches weights. */
export function withRescaledProducts(network: Network): Network | undefined {
  const { states, stages } = network
  const inputs = 1 + states.length
  const weighted = new Set<number>()
  for (const { parts, linear } of stages) {
    if (linear.geometry.kind === 'identity') continue
    for (const part of parts) if ('from' in part) weighted.add(part.from)
  }
  // What a state becomes reaches weights where the state does, a step later.
  states.forEach(({ next }, s) => {
    if (weighted.has(1 + s)) weighted.add(next)
  })
  const made: NetworkStage[] = []
  /** The new number of an old value, and of its rescaled form. */
  const plain = Array.from({ length: inputs }, (_, j) => j)
  const rescaled = [...plain]
  let found = false
  stages.forEach((stage, i) => {
    const numbers = stage.linear.geometry.kind === 'identity' ? plain : rescaled
    made.push({
      ...stage,
      parts: stage.parts.map((part) => ('from' in part ? { ...part, from: numbers[part.from] } : part)),
      skips: stage.skips.map((skip) => ({ ...skip, from: plain[skip.from] })),
    })
    const value = inputs + made.length - 1
    plain.push(value)
    rescaled.push(value)
    const { activation } = stage
    if (activation?.fn !== 'product' || !weighted.has(inputs + i)) return
    found = true
    const size = linearSize(stage) / (2 * activation.signs.length)
    made.push({
      parts: [{ from: value }],
      linear: {
        ...stage.linear,
        name: activation.name,
        geometry: { kind: 'identity', size },
        bias: new Float64Array(size),
      },
      skips: [],
      activation: { ...activation, name: `rescaled ${activation.name}`, fn: 'identity', signs: [] },
    })
    rescaled[rescaled.length - 1] = value + 1
  })
  if (!found) return undefined
  return { ...network, states: states.map((state) => ({ ...state, next: rescaled[state.next] })), stages: made }
}
