import { readFileSync } from 'node:fs'

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

/** The most memory that a process has had resident so far, bytes; NaN where /proc does not say. */
export function peakMemory(pid: number): number {
  try {
    return 1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return Number.NaN
  }
}
