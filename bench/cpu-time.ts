import { readFileSync, writeFileSync } from 'node:fs'

/** Ticks of /proc/PID/stat a second: USER_HZ is 100 on every Linux that Node runs on. */
const TICKS = 100

/** CPU seconds, user and system, that a process has used; NaN where there is no /proc. */
export function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS
  } catch {
    return Number.NaN
  }
}

/** Bytes that a process has resident, and the most it had since it began or since forgetPeak; NaN where there is no /proc. */
export function memoryOf(pid: number): { now: number; peak: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const kilobytes = (name: string) => Number(new RegExp(`${name}:\\s*(\\d+)`).exec(status)?.[1])
    return { now: 1024 * kilobytes('VmRSS'), peak: 1024 * kilobytes('VmHWM') }
  } catch {
    return { now: Number.NaN, peak: Number.NaN }
  }
}

/** Makes what is resident now the peak. */
export function forgetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
  } catch {
    // Without it the peak is one since the start.
  }
}
