/**
 * One error vocabulary for the whole project. The message says what was expected, what came and what to do;
 * the code is stable, so that callers and scripts can act on it. No secret may enter a message.
 */
export type ErrorCode =
  | 'BAD_INPUT' // a file, flag or value from the user is wrong
  | 'BAD_MODEL' // an ONNX file cannot be read, or asks for what is not supported
  | 'BAD_PEER' // the peer broke the protocol
  | 'BUSY' // a limit on concurrent or stored things is reached; try later
  | 'CANCELLED' // the user or a shutdown stopped it
  | 'CONNECTION' // the peer cannot be reached or went away
  | 'INTERNAL' // a bug
  | 'NO_DAEMON' // the daemon of this repo is not running
  | 'NO_REPO' // the repo has not been initialised
  | 'REPO_LOCKED' // another process holds the repo
  | 'TIMEOUT' // a deadline passed
  | 'UNKNOWN_BUNDLE' // the host does not hold this bundle (any more)
  | 'UNKNOWN_MODEL' // no model of this name or id is served
  | 'UNKNOWN_SESSION' // the states of a recurrent session are not kept (any more)
  | 'UNKNOWN_PEER' // no address is known for this peer

export const ERROR_CODES: readonly ErrorCode[] = [
  'BAD_INPUT',
  'BAD_MODEL',
  'BAD_PEER',
  'BUSY',
  'CANCELLED',
  'CONNECTION',
  'INTERNAL',
  'NO_DAEMON',
  'NO_REPO',
  'REPO_LOCKED',
  'TIMEOUT',
  'UNKNOWN_BUNDLE',
  'UNKNOWN_MODEL',
  'UNKNOWN_PEER',
  'UNKNOWN_SESSION',
]

export class MinionnError extends Error {
  override readonly name = 'MinionnError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Narrows an unknown thrown value to a MinionnError; anything else becomes INTERNAL and keeps its cause. */
export function asMinionnError(thrown: unknown): MinionnError {
  if (thrown instanceof MinionnError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new MinionnError('INTERNAL', message, { cause: thrown })
}
