import { mkdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { optionOf, table } from '../reliability/command'

/** What one benchmark has found. */
export interface Part {
  /** Of its files in docs/benchmarks, and of its command: `npm run bench:<name>`. */
  readonly name: string
  /** Its head first; with a caption. */
  readonly tables: ReadonlyArray<{ readonly caption: string; readonly rows: readonly (readonly (string | number)[])[] }>
  /** What was to be reached, and whether it was. */
  readonly goals?: readonly Goal[]
  /** What could not be measured here, and why. */
  readonly leftOut?: readonly string[]
  readonly figures: unknown
  /** As SVG, by the end of their name: '' for the first. */
  readonly charts: Readonly<Record<string, string>>
}

export interface Goal {
  readonly what: string
  readonly goal: number
  readonly reached: number
  /** Whether less is better. */
  readonly atMost: boolean
}

/** Whether the benchmark is only to show that it works. */
export const quick = process.argv.includes('--quick')

/** Measures, prints tables, and keeps figures and charts in docs/benchmarks, or where `--out` says. */
export async function runPart(measure: () => Promise<Part>): Promise<void> {
  const part = await measure()
  for (const { caption, rows } of part.tables) console.log(`\n${caption}\n\n${table(rows)}`)
  for (const goal of part.goals ?? []) console.log(`\n${sentence(goal)}`)
  for (const what of part.leftOut ?? []) console.log(`\nleft out: ${what}`)
  const folder = optionOf('out') ?? (quick ? undefined : join(__dirname, '../../docs/benchmarks'))
  if (folder) await keep(part, folder)
}

function sentence({ what, goal, reached, atMost }: Goal): string {
  const met = atMost ? reached <= goal : reached >= goal
  return `${met ? 'reached' : 'MISSED'}: ${what}: ${Number(reached.toPrecision(3))}, the goal is ${atMost ? 'at most' : 'at least'} ${goal}`
}

async function keep({ name, figures, goals, leftOut, charts }: Part, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const kept = { command: `npm run bench:${name}`, machine: machine(), goals, leftOut, figures }
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(kept, null, 1)}\n`)
  for (const [end, svg] of Object.entries(charts)) await writeFile(join(folder, `${name}${end && `-${end}`}.svg`), svg)
}

function machine() {
  return { node: process.version, cores: cpus().length, cpu: cpus()[0]?.model, measured: new Date().toISOString().slice(0, 10) }
}
