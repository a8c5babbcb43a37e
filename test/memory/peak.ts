import { readFileSync } from 'node:fs'

/** The most memory that this process has held, and what it holds now. Bytes. Linux only: `maxRSS` counts the parent's as well. */
export function memoryHeld(): { peak: number; now: number } {
  const status = readFileSync('/proc/self/status', 'utf8')
  const field = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) * 1024
  return { peak: field('VmHWM'), now: field('VmRSS') }
}
