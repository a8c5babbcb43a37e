import { startPostgres } from '../../examples/services/postgres'
import { redisInstalled, startRedis } from '../../examples/services/redis'
import { optionOf } from '../reliability/command'
import { backlog, type Figure, type Latency, latency } from './backlog'
import { lineChart } from './chart'
import { enginesOn } from './engines'
import { type Goal, type Part, quick, runPart } from './part'

// npm run bench:queue [-- --waiting 1000,30000,300000 --engine graphile --out FOLDER]

/** Jobs per second, below which it is not tried with more. */
const slow = 100

/** With 300,000 waiting a queue is to be no slower than this, of what it is with few. */
const steady = 0.8

async function measureAll(): Promise<Part> {
  const sizes = (optionOf('waiting') ?? (quick ? '20,40' : '1000,30000,300000')).split(',').map(Number)
  const wanted = optionOf('engine')?.toLowerCase() ?? ''
  const given = process.env['REDIS_URL']
  const [postgres, redis] = await Promise.all([startPostgres(), given || !redisInstalled() ? undefined : startRedis()])
  try {
    const engines = enginesOn({ postgres: postgres.url('postgres'), redis: given ?? redis?.url })
    const figures: Figure[] = []
    const latencies: Latency[] = []
    for (const engine of engines.filter(({ name }) => name.toLowerCase().includes(wanted))) {
      latencies.push(await latency(engine, quick ? 5 : undefined))
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
    const names = engines.map(({ name }) => name)
    const contenders = names.map((name) => ({ name, points: ownOf(figures, name).map((one) => [one.waiting, one.jobsPerSecond] as const) }))
    return {
      name: 'queue',
      tables: [
        { caption: 'Jobs a second', rows: rates(figures, sizes, names) },
        { caption: 'Latency', rows: waits(latencies) },
      ],
      goals: names.slice(0, 2).flatMap((name) => goalOf(ownOf(figures, name))),
      leftOut: given || redis ? [] : ['BullMQ: there is no Redis, neither at REDIS_URL nor as redis-server on the PATH'],
      figures: { rates: figures, latencies },
      charts: { '': lineChart({ title: 'Jobs a second, with so many waiting', unit: 'jobs a second', along: 'jobs waiting', contenders }) },
    }
  } finally {
    await Promise.all([postgres.stop(), redis?.stop()])
  }
}

/** Differs by a quarter from run to run, so it is measured several times, and the middle one counts; a small one is gone in a moment. */
async function measured(measure: () => Promise<Figure>, waiting: number): Promise<Figure> {
  const all: Figure[] = []
  for (let times = quick ? 1 : waiting > 10_000 ? 3 : 5; times > 0; times--) all.push(await measure())
  return all.sort((one, other) => one.jobsPerSecond - other.jobsPerSecond)[Math.floor(all.length / 2)] as Figure
}

function ownOf(figures: readonly Figure[], name: string): Figure[] {
  return figures.filter(({ engine }) => engine === name)
}

function goalOf(own: readonly Figure[]): Goal[] {
  const [first, last] = [own[0], own.at(-1)]
  if (!first || !last || first === last) return []
  const what = `${first.engine}: its pace with ${last.waiting.toLocaleString('en')} jobs waiting, of that with ${first.waiting.toLocaleString('en')}`
  return [{ what, goal: steady, reached: last.jobsPerSecond / first.jobsPerSecond, atMost: false }]
}

function rates(figures: readonly Figure[], sizes: readonly number[], names: readonly string[]): string[][] {
  const head = ['jobs per second, with so many waiting', ...sizes.map((size) => size.toLocaleString('en'))]
  const rows = names.map((name) => {
    const own = ownOf(figures, name)
    const first = own[0]?.jobsPerSecond ?? 1
    return [
      name,
      ...own.map(({ jobsPerSecond }, at) => (at === 0 ? `${jobsPerSecond}` : `${jobsPerSecond} (× ${(jobsPerSecond / first).toFixed(2)})`)),
    ]
  })
  return [head, ...rows]
}

function waits(latencies: readonly Latency[]): string[][] {
  return [
    ['until a job begins, nothing else waiting', 'median', '95 %'],
    ...latencies.map((one) => [one.engine, `${one.median} ms`, `${one.p95} ms`]),
  ]
}

runPart(measureAll)
