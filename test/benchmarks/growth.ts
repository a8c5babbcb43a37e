import 'reflect-metadata'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DataSource } from 'typeorm'
import { Attachments, diskStorage, memoryStorage } from '../../src'
import { optionOf } from '../reliability/command'
import { jpeg } from '../support/pictures'
import { lineChart } from './chart'
import { multiply } from './crowd'
import { Person } from './entities'
import { heldJobs, openJobs } from './job'
import { type Goal, type Part, quick, runPart } from './part'
import { inPlace, type Place } from './place'
import { rounds, type Spread, spread, type Timed } from './rounds'

// npm run bench:growth [-- --rows 1000,100000,1000000 --quick]: what it costs when the table is large, and with many styles

/** Of what it costs in a small table. */
const steady = 1.5

interface Figure {
  readonly rows: number
  readonly save: Spread
  readonly job: Spread
  /** With ten lost jobs in the table. */
  readonly requeueLost: Spread
  /** Of the statement by which lost jobs are found. */
  readonly plan: string
}

async function measureAll(): Promise<Part> {
  return inPlace(async (place) => {
    const sizes = (optionOf('rows') ?? (quick ? '10,20' : '1000,100000,1000000')).split(',').map(Number)
    const figures: Figure[] = []
    for (const rows of sizes) {
      figures.push(await grown(place, rows, quick ? 2 : 60))
      const { save, job, requeueLost, plan } = figures.at(-1) as Figure
      console.log(`${rows} rows: save ${save.median} ms, job ${job.median} ms, requeueLost() ${requeueLost.median} ms; ${plan}`)
    }
    return report(figures, await byStyles(place))
  })
}

async function grown(place: Place, rows: number, times: number): Promise<Figure> {
  const dataSource = await place.database(Person)
  const { background, jobs, performNext } = heldJobs()
  const staging = diskStorage({ root: join(place.folder, `staging-${rows}`) })
  const attachments = new Attachments({ staging, storage: memoryStorage({ publicUrl: '/' }), background })
  await attachments.connect(dataSource)
  const picture = await jpeg()
  async function save(): Promise<number> {
    const person = Object.assign(new Person(), { name: 'ada' })
    await attachments.attach(person, 'avatar', picture, { fileName: 'me.jpg' })
    return timeOf(() => dataSource.manager.save(person))
  }
  await save()
  await multiply(dataSource, rows)
  await performNext()

  const saves = await repeated(times, save)
  const done = await repeated(times, () => timeOf(performNext))
  for (let at = 0; at < 10; at++) await save()
  jobs.length = 0
  const looks = await repeated(times, async () => {
    const taken = await timeOf(() => attachments.requeueLost({ olderThan: 0 }))
    if (jobs.splice(0).length !== 10) throw new Error('not every lost job was found')
    return taken
  })
  const plan = await planOf(dataSource)
  await attachments.close()
  await dataSource.destroy()
  return { rows, save: spread(saves), job: spread(done), requeueLost: spread(looks), plan }
}

async function repeated(times: number, measure: () => Promise<number>): Promise<number[]> {
  const taken: number[] = []
  for (let at = 0; at < times; at++) taken.push(await measure())
  return taken
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** How PostgreSQL finds lost jobs. */
async function planOf(dataSource: DataSource): Promise<string> {
  const plan: Array<{ 'QUERY PLAN': string }> = await dataSource.query(
    `EXPLAIN SELECT * FROM person WHERE avatar_processing = true AND avatar_attempted_at < now() ORDER BY avatar_attempted_at LIMIT 100`,
  )
  return plan.map((line) => line['QUERY PLAN'].trim()).find((line) => /Scan/.test(line)) ?? 'no scan'
}

/** The whole job of a picture with so many styles of one size. */
async function byStyles(place: Place): Promise<Record<string, Timed>> {
  const jobs = await openJobs()
  try {
    const path = join(place.folder, 'picture.jpg')
    await writeFile(path, await jpeg(1600, 1200))
    const times = quick ? 1 : 15
    const of = (count: number) => {
      const styles = Array.from({ length: count }, (_, at) => ({ name: `style${at}`, geometry: `${300 + at}x${300 + at}>` }))
      return jobs.of(path, { styles }, times + 1)
    }
    return await rounds({ '1 style': await of(1), '5 styles': await of(5), '20 styles': await of(20) }, times)
  } finally {
    await jobs.close()
  }
}

function report(figures: readonly Figure[], styles: Record<string, Timed>): Part {
  const whats = ['save', 'job', 'requeueLost'] as const
  const [first, last] = [figures[0], figures.at(-1)] as [Figure, Figure]
  const goals = whats.map(
    (what): Goal => ({
      what: `${what} with ${last.rows.toLocaleString('en')} rows against ${first.rows.toLocaleString('en')}`,
      goal: steady,
      reached: last[what].median / first[what].median,
      atMost: true,
    }),
  )
  return {
    name: 'growth',
    tables: [
      {
        caption: 'Milliseconds, in a table of so many rows; requeueLost() with ten lost jobs',
        rows: [
          ['rows', 'save()', 'job', 'requeueLost()', 'how lost jobs are found'],
          ...figures.map(({ rows, plan, ...figure }) => [rows.toLocaleString('en'), ...whats.map((what) => figure[what].median), plan]),
        ],
      },
      {
        caption: 'The whole job of a picture of 2 megapixels',
        rows: [
          ['with', 'ms', 'ms of CPU', ''],
          ...Object.entries(styles).map(([name, { wall, cpu, ratio }]) => [name, wall.median, cpu.median, `× ${ratio.median}`]),
        ],
      },
    ],
    goals,
    figures: { tables: figures, styles },
    charts: {
      '': lineChart({
        title: 'Milliseconds, in a table of so many rows',
        unit: 'ms',
        along: 'rows',
        contenders: whats.map((what) => ({ name: what, points: figures.map((figure) => [figure.rows, figure[what].median] as const) })),
      }),
    },
  }
}

runPart(measureAll)
