import { mkdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '../../examples/services/postgres'
import { startRedis } from '../../examples/services/redis'
import { optionOf, table } from '../reliability/command'
import { backlog, type Figure, type Latency, latency } from './backlog'
import { chart } from './chart'
import { enginesOn } from './engines'

// npm run bench:queue [-- --waiting 1000,30000,300000 --engine graphile]

/** Jobs per second, below which it is not tried with more. */
const slow = 100

async function main(): Promise<void> {
  const sizes = (optionOf('waiting') ?? '1000,30000,300000').split(',').map(Number)
  const wanted = optionOf('engine') ?? ''
  const given = process.env['REDIS_URL']
  const [postgres, redis] = await Promise.all([startPostgres(), given ? undefined : startRedis()])
  try {
    const engines = enginesOn({ postgres: postgres.url('postgres'), redis: given ?? (redis?.url as string) })
    const figures: Figure[] = []
    const latencies: Latency[] = []
    for (const engine of engines.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()))) {
      latencies.push(await latency(engine))
      console.log(`${engine.name}: a job begins after ${latencies.at(-1)?.median} ms`)
      for (const waiting of sizes) {
        const last = figures.findLast((figure) => figure.engine === engine.name)
        // what takes minutes at ten times fewer would take an hour
        if (last && last.jobsPerSecond < slow) break
        const figure = await measured(() => backlog(engine, waiting), waiting)
        figures.push(figure)
        console.log(`${engine.name}, ${waiting} waiting: ${figure.jobsPerSecond} jobs a second`)
      }
    }
    console.log(`\n${rates(figures, sizes)}\n\n${waits(latencies)}`)
    if (wanted === '') await keep(figures, latencies)
  } finally {
    await Promise.all([postgres.stop(), redis?.stop()])
  }
}

/** A small backlog is gone in a moment, so it is measured five times, and the middle one counts. */
async function measured(measure: () => Promise<Figure>, waiting: number): Promise<Figure> {
  const all: Figure[] = []
  for (let times = waiting > 10_000 ? 1 : 5; times > 0; times--) all.push(await measure())
  return all.sort((one, other) => one.jobsPerSecond - other.jobsPerSecond)[Math.floor(all.length / 2)] as Figure
}

function rates(figures: readonly Figure[], sizes: readonly number[]): string {
  const names = [...new Set(figures.map(({ engine }) => engine))]
  const head = ['jobs per second, with so many waiting', ...sizes.map((size) => size.toLocaleString('en'))]
  const rows = names.map((name) => {
    const own = figures.filter(({ engine }) => engine === name)
    const first = own[0]?.jobsPerSecond ?? 1
    return [
      name,
      ...own.map(({ jobsPerSecond }, at) => (at === 0 ? `${jobsPerSecond}` : `${jobsPerSecond} (× ${(jobsPerSecond / first).toFixed(2)})`)),
    ]
  })
  return table([head, ...rows])
}

function waits(latencies: readonly Latency[]): string {
  return table([
    ['until a job begins, nothing else waiting', 'median', '95 %'],
    ...latencies.map((one) => [one.engine, `${one.median} ms`, `${one.p95} ms`]),
  ])
}

async function keep(figures: readonly Figure[], latencies: readonly Latency[]): Promise<void> {
  const folder = join(__dirname, '../../docs/benchmarks')
  await mkdir(folder, { recursive: true })
  const machine = { node: process.version, cores: cpus().length, cpu: cpus()[0]?.model, measured: new Date().toISOString().slice(0, 10) }
  await writeFile(join(folder, 'queue.json'), `${JSON.stringify({ command: 'npm run bench:queue', machine, figures, latencies }, null, 2)}\n`)
  await writeFile(join(folder, 'queue.svg'), chart(figures))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
