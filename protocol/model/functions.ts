/**
 * Univariate activations by name: what ONNX's operators compute on an element, and how far from zero they are more than a
 * straight line. circuits/pieces.ts approximates them.
 */
export interface ScalarFunction {
  /** ONNX's operator, or those it is made of. */
  readonly op: string
  readonly apply: (x: number) => number
  /** Where a function that is linear in pieces bends; undefined for others. */
  readonly bends?: readonly number[]
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))

/** Gauss error function to 1.2e-7: Numerical Recipes, section 6.2. */
function erf(x: number): number {
  const t = 1 / (1 + 0.5 * Math.abs(x))
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ]
  const polynomial = coefficients.reduceRight((sum, c) => sum * t + c, 0)
  const tail = t * Math.exp(-x * x + polynomial)
  return x >= 0 ? 1 - tail : tail - 1
}

/** ONNX operator to function of an element and the operator's parameters. */
const FUNCTIONS = {
  LeakyRelu: (x: number, [alpha]: readonly number[]) => (x < 0 ? alpha * x : x),
  Clip: (x: number, [low, high]: readonly number[]) => Math.min(Math.max(x, low), high),
  Abs: (x: number) => Math.abs(x),
  HardSigmoid: (x: number, [alpha, beta]: readonly number[]) => Math.min(Math.max(alpha * x + beta, 0), 1),
  HardSwish: (x: number) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1),
  Sigmoid: (x: number) => sigmoid(x),
  Tanh: (x: number) => Math.tanh(x),
  Softplus: (x: number) => softplus(x),
  Softsign: (x: number) => x / (1 + Math.abs(x)),
  Elu: (x: number, [alpha]: readonly number[]) => (x < 0 ? alpha * Math.expm1(x) : x),
  Celu: (x: number, [alpha]: readonly number[]) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha)),
  Selu: (x: number, [alpha, gamma]: readonly number[]) => gamma * (x < 0 ? alpha * Math.expm1(x) : x),
  Gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  /** Gelu's approximation by tanh. */
  GeluTanh: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  Mish: (x: number) => x * Math.tanh(softplus(x)),
  Erf: (x: number) => erf(x),
  Swish: (x: number, [alpha]: readonly number[]) => x * sigmoid(alpha * x),
  Exp: (x: number) => Math.exp(x),
  Log: (x: number) => Math.log(x),
  Sqrt: (x: number) => Math.sqrt(x),
  Reciprocal: (x: number) => 1 / x,
  Sin: (x: number) => Math.sin(x),
  Cos: (x: number) => Math.cos(x),
  Atan: (x: number) => Math.atan(x),
  Sinh: (x: number) => Math.sinh(x),
  Cosh: (x: number) => Math.cosh(x),
  Asinh: (x: number) => Math.asinh(x),
  Pow: (x: number, [exponent]: readonly number[]) => x ** exponent,
} as const

export type ScalarOp = keyof typeof FUNCTIONS

/** The function of an ONNX operator with these parameters. */
export function scalarFunction(op: ScalarOp, parameters: readonly number[]): ScalarFunction {
  return { op, apply: (x) => FUNCTIONS[op](x, parameters), bends: bends(op, parameters) }
}

/** Where a function that is linear in pieces bends; undefined for others. */
function bends(op: ScalarOp, [a, b]: readonly number[]): readonly number[] | undefined {
  if (op === 'Clip') return [a, b].filter(Number.isFinite)
  if (op === 'HardSigmoid') return a === 0 ? [] : [-b / a, (1 - b) / a].sort((x, y) => x - y)
  return op === 'LeakyRelu' || op === 'Abs' ? [0] : undefined
}

export function isScalarOp(op: string): op is ScalarOp {
  return op in FUNCTIONS
}

/** Whether f(-x) - f(0) = -(f(x) - f(0)). */
export function isSymmetric({ apply, bends }: ScalarFunction): boolean {
  if (bends !== undefined) return false
  const middle = apply(0)
  for (let i = 1; i <= 256; i++) {
    const x = (i * i) / 2048
    const [low, high] = [apply(-x), apply(x)]
    if (!(Math.abs(low + high - 2 * middle) <= 1e-6 * (1 + Math.abs(high)))) return false
  }
  return true
}

/** Beyond what is looked at no function of the list bends. */
const WIDEST = 64

/**
 * The least distance from zero beyond which f is a straight line on either side, up to `tolerance`: what lies beyond may be
 * clamped to it where the line is flat. `flat` tells whether both are.
 */
export function bentRange(f: ScalarFunction, tolerance: number): { range: number; flat: boolean } {
  const at = f.apply
  const steps = 4096
  const ends = [at(-WIDEST), at(WIDEST)]
  const slopes = [at(-WIDEST + 1) - ends[0], ends[1] - at(WIDEST - 1)]
  let range = 0
  for (let i = 1; i <= steps; i++) {
    const x = (i * WIDEST) / steps
    const beyond = [
      Math.abs(at(-x) - (ends[0] + slopes[0] * (WIDEST - x))),
      Math.abs(at(x) - (ends[1] - slopes[1] * (WIDEST - x))),
    ]
    if (Math.max(...beyond) > tolerance) range = ((i + 1) * WIDEST) / steps
  }
  return { range: Math.max(range, WIDEST / steps), flat: slopes.every((slope) => Math.abs(slope) < 1e-6) }
}
