import 'reflect-metadata'
import { addFindings, noFindings } from './check'
import { optionOf, table, withServers } from './command'
import { type Ground, type KillRun, killRun } from './kill'
import { idOf, type NamedPoint, pointsOf } from './points'
import { programOf } from './program'
import { scenarioNames } from './scenarios'
import { openSlot } from './slot'

// npm run kill-matrix [-- --only remove | remove:after | remove:after:storage-delete:1] [--jobs 2]: a process is killed at every step of every
// scenario, another one recovers, and everything is checked

interface Line {
  points: number
  kills: number
  violations: number
}

async function main(): Promise<void> {
  const started = Date.now()
  const only = optionOf('only')
  const wanted = (id: string) => only === undefined || id === only || id.startsWith(`${only}:`)
  const broken: string[] = []
  const total = noFindings()
  const lines = new Map<string, Line>()

  await withServers(async (servers) => {
    console.log(`kill-matrix: on ${servers.names}`)
    const program = await programOf('child')
    const grounds = await Promise.all(Array.from({ length: Number(optionOf('jobs') ?? 2) }, async () => ({ slot: await openSlot(servers), program })))
    const names = scenarioNames.filter((name) => only === undefined || only.split(':')[0] === name)
    const points: NamedPoint[] = []
    await each(grounds, names, async (ground, scenario) => {
      const dry = await surely(killRun(ground, scenario))
      for (const violation of dry.violations) broken.push(`${scenario}, not killed at all: ${violation}`)
      addFindings(total, dry)
      const found = pointsOf(scenario, dry).filter((point) => wanted(idOf(point)))
      lines.set(scenario, { points: found.length, kills: 0, violations: dry.violations.length })
      points.push(...found)
    })
    points.sort((a, b) => names.indexOf(a.scenario) - names.indexOf(b.scenario))
    let done = 0
    await each(grounds, points, async (ground, point) => {
      const run = await surely(killRun(ground, point.scenario, point.point))
      const line = lines.get(point.scenario) as Line
      line.kills += run.killed ? 1 : 0
      line.violations += run.violations.length
      addFindings(total, run)
      const how = run.violations.length > 0 ? 'VIOLATED' : run.killed ? 'ok' : 'ok, it never came to that'
      console.log(`kill-matrix: ${++done}/${points.length} ${point.scenario}, ${point.point.when} ${point.point.name} ${point.point.nth} ${how}`)
      for (const violation of run.violations) {
        console.log(`  ${violation}`)
        broken.push(`${idOf(point)}: ${violation}`)
      }
    })
    await Promise.all(grounds.map(({ slot }) => slot.close()))
  })

  const inOrder = scenarioNames.flatMap((name) => [...lines].filter(([other]) => other === name))
  const all = inOrder.map(([name, { points, kills, violations }]) => [name, points, kills, violations])
  const sum = (column: number) => all.reduce((to, line) => to + Number(line[column]), 0)
  console.log(table([['scenario', 'points', 'kills', 'violations'], ...all, ['all', sum(1), sum(2), sum(3)]]))
  const megabytes = Math.round(total.bytes / 2 ** 20)
  console.log(`originals read byte for byte: ${total.originals}; styles: ${total.objects}; together ${megabytes} MB`)
  console.log(`kill-matrix: ${sum(2)} kills, ${broken.length} violations, ${Math.round((Date.now() - started) / 1000)} s`)
  for (const line of broken) console.error(`npm run kill-matrix -- --only ${line}`)
  process.exitCode = broken.length > 0 || sum(2) === 0 ? 1 : 0
}

/** A run that fails by itself is a violation as well. */
function surely(run: Promise<KillRun>): Promise<KillRun> {
  const failed = (error: Error) => ({ ...noFindings(), violations: [`the run failed: ${error.stack}`], killed: false, calls: [], uploads: 0 })
  return run.catch(failed)
}

/** Does something with each item, as many at a time as there is ground for. */
async function each<T>(grounds: readonly Ground[], items: readonly T[], work: (ground: Ground, item: T) => Promise<void>): Promise<void> {
  const left = [...items]
  const one = async (ground: Ground) => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(ground, item)
  }
  await Promise.all(grounds.map(one))
}

main()
