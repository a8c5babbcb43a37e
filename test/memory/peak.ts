import { readFileSync } from 'node:fs'

/** The most memory that a process has held, and what it holds now. Bytes. Linux only: `maxRSS` counts the parent's as well. */
export function memoryHeld(pid: number | 'self' = 'self'): { peak: number; now: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) * 1024
  return { peak: field('VmHWM'), now: field('VmRSS') }
}

/** The same of a process and all that it started: what they share counts for each. */
export function memoryHeldByAll(pid: number): { peak: number; now: number } {
  const own = memoryHeld(pid)
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  return children.map(memoryHeldByAll).reduce((sum, { peak, now }) => ({ peak: sum.peak + peak, now: sum.now + now }), own)
}
