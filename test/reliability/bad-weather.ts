import type { Fault, Rule } from '../support/fault-proxy'
import { oneOf, type Random } from './random'

export const allFaults: readonly Fault[] = [
  'unavailable',
  'slow-down',
  'reset',
  'halved',
  'lost',
  'damaged',
  'cut',
  'stalled',
  'hang',
  'late',
  'slow',
]

export interface Weather {
  readonly rule: Rule
  /** How often each fault struck. */
  readonly struck: ReadonlyMap<Fault, number>
  clear(): void
}

/** Faults that strike one request in so many. `waiting` hears of every request. */
export function badWeather(random: Random, oneIn: number, faults: readonly Fault[] = allFaults, waiting?: () => void): Weather {
  const struck = new Map<Fault, number>()
  let bad = true
  return {
    struck,
    rule(_operation, _count, hasBody) {
      waiting?.()
      if (!bad || random() * oneIn >= 1) return undefined
      const fault = oneOf(random, faults)
      // there is no half of nothing, and nothing in it to be damaged
      if (!hasBody && (fault === 'halved' || fault === 'damaged')) return undefined
      struck.set(fault, (struck.get(fault) ?? 0) + 1)
      return fault
    },
    clear() {
      bad = false
    },
  }
}
