import { readFileSync } from 'node:fs'

/** Milliseconds. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export interface Timed {
  readonly wall: Spread
  /** Of this process and of those that it waited for. */
  readonly cpu: Spread
  /** Of the wall times of each round to the first contender's of that round. */
  readonly ratio: Spread
  readonly cpuRatio: Spread
}

type Contenders<Name extends string> = Readonly<Record<Name, () => unknown>>

/**
 * Times contenders against each other: one after the other in each round, beginning with another one each time, so that a machine
 * that is busy for a while slows down all of them. One round more is not counted.
 *
 * @returns what each took; ratios are to the first
 */
export async function rounds<Name extends string>(contenders: Contenders<Name>, count: number): Promise<Record<Name, Timed>> {
  const names = Object.keys(contenders) as Name[]
  const taken = new Map(names.map((name) => [name, [] as Array<{ wall: number; cpu: number }>]))
  for (let round = -1; round < count; round++) {
    for (const at of names.keys()) {
      const name = names[(at + round + names.length) % names.length] as Name
      const [cpu, wall] = [cpuTime(), performance.now()]
      await contenders[name]()
      if (round >= 0) taken.get(name)?.push({ wall: performance.now() - wall, cpu: cpuTime() - cpu })
    }
  }
  const first = taken.get(names[0] as Name) ?? []
  const summary = names.map((name) => {
    const own = taken.get(name) ?? []
    const each = (of: 'wall' | 'cpu') => spread(own.map((sample) => sample[of]))
    const ratio = (of: 'wall' | 'cpu') => spread(own.map((sample, at) => sample[of] / (first[at]?.[of] ?? Number.NaN)))
    return [name, { wall: each('wall'), cpu: each('cpu'), ratio: ratio('wall'), cpuRatio: ratio('cpu') }]
  })
  return Object.fromEntries(summary)
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((one, other) => one - other)
  const at = (part: number) => Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN).toPrecision(4))
  return { median: at(0.5), min: at(0), max: at(1) }
}

/** What this process, and those that it has waited for, have taken of the processors. Milliseconds. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000 + childrenTime()
}

/** Of ended children: fields 16 and 17 of proc(5)'s stat, in hundredths of a second. Linux only; elsewhere children do not count. */
function childrenTime(): number {
  try {
    const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[13]) + Number(fields[14])) * 10
  } catch {
    return 0
  }
}
