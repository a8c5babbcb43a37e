import 'reflect-metadata'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Attachments, diskStorage, inProcessBackground, type Style } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { resolveStyle } from '../../src/style/style'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { atDistance } from './distance'
import { fiveStyles, Person } from './entities'
import { type Part, quick, runPart } from './part'
import { floorOf } from './peers'
import { type Original, originals } from './pictures'
import { inPlace, type Place } from './place'
import { cpuTime } from './rounds'

// npm run bench:worker [-- --jobs 60 --distances 0,30,100 --in-flight 1,4,16 --quick]: attachments a second, from a disk to S3 at several distances

const listOf = (name: string, usual: string) => (optionOf(name) ?? usual).split(',').map(Number)
const distances = listOf('distances', '0,30,100')
const inFlight = listOf('in-flight', '1,4,16')

interface Figure {
  /** Milliseconds to S3. */
  readonly distance: number
  readonly inFlight: number
  readonly perSecond: number
  /** Milliseconds of CPU that this process took for each. */
  readonly cpu: number
  /** Of what the cores would make in that time by the floor, less what other processes took of them (S3, PostgreSQL). */
  readonly share: number
}

async function measureAll(): Promise<Part> {
  return inPlace(async (place) => {
    const jobs = Number(optionOf('jobs') ?? (quick ? 2 : 60))
    const [original] = (await originals(place.folder, quick ? 0.1 : 1)) as [Original]
    const possible = await floorRate(original, place.folder, jobs)
    console.log(`by the floor the cores make ${possible.toFixed(1)} a second`)
    const figures: Figure[] = []
    for (const distance of distances) {
      const far = await atDistance(place.s3.endpoint, distance)
      try {
        for (const count of inFlight) figures.push(await rate(place, far.endpoint, original, { jobs, distance, count, possible }))
      } finally {
        await far.stop()
      }
    }
    return report(figures, possible)
  })
}

/** How many pictures a second all cores make, if nothing is done but what cannot be left out. */
async function floorRate(original: Original, folder: string, times: number): Promise<number> {
  const styles = Object.entries(fiveStyles).map(([name, geometry]) => resolveStyle(name, { geometry, format: 'jpeg' }) as Style)
  const floor = await floorOf({ original, styles, format: 'jpeg', animated: false, folder })
  await floor()
  const usage = watchCores()
  let left = times
  const one = async () => {
    while (left-- > 0) await floor()
  }
  await Promise.all(Array.from({ length: 16 }, one))
  const { available, own } = usage()
  console.log(`the floor takes ${Math.round(own / times)} ms of CPU`)
  return times / available
}

async function rate(
  place: Place,
  endpoint: string,
  original: Original,
  { jobs, distance, count, possible }: { jobs: number; distance: number; count: number; possible: number },
): Promise<Figure> {
  const dataSource = await place.database(Person)
  const { client, bucket } = await place.bucket(endpoint)
  const staging = diskStorage({ root: join(place.folder, `staging-${distance}-${count}`) })
  // first everything is saved, as by a web process, and its jobs are lost
  const web = new Attachments({ staging, storage: s3Storage({ client, bucket }), background: { enqueue: async () => undefined } })
  const bytes = await readFile(original.path)
  async function save(times: number): Promise<void> {
    await web.connect(dataSource)
    for (let at = 0; at < times; at++) {
      const person = Object.assign(new Person(), { name: `${at}` })
      await web.attach(person, 'avatar', bytes, { fileName: 'me.jpg' })
      await dataSource.manager.save(person)
    }
    await web.close()
  }
  async function performAll(): Promise<void> {
    const worker = new Attachments({ staging, storage: s3Storage({ client, bucket }), background: inProcessBackground({ concurrency: count }) })
    await worker.connect(dataSource)
    await worker.requeueLost({ olderThan: 0 })
    await worker.idle()
    await worker.close()
  }
  // what is loaded when it is first used is no part of it
  await save(4)
  await performAll()
  await save(jobs)
  const usage = watchCores()
  await performAll()
  const { seconds, available, own } = usage()
  if (await dataSource.manager.existsBy(Person, { avatar: { processing: true } })) throw new Error('not everything is done')
  const rounded = (value: number) => Number(value.toPrecision(3))
  const figure = {
    distance,
    inFlight: count,
    perSecond: rounded(jobs / seconds),
    cpu: rounded(own / jobs),
    share: rounded(jobs / available / possible),
  }
  const share = `${Math.round(figure.share * 100)} % of what the cores allow`
  console.log(`${distance} ms to S3, ${count} jobs in flight: ${figure.perSecond} a second, ${figure.cpu} ms of CPU each, ${share}`)
  return figure
}

/** Seconds that have passed, how many of them all cores had for this process (the rest was other processes'), and what it took, in milliseconds. */
function watchCores(): () => { seconds: number; available: number; own: number } {
  const [wall, own, all] = [performance.now(), cpuTime(), busyTime()]
  return () => {
    const seconds = (performance.now() - wall) / 1_000
    const others = Math.max(0, busyTime() - all - (cpuTime() - own)) / 1_000
    return { seconds, available: seconds - others / availableParallelism(), own: cpuTime() - own }
  }
}

/** What all processes have taken of the cores: proc(5)'s stat, in hundredths of a second. Linux only; elsewhere nobody else counts. Milliseconds. */
function busyTime(): number {
  try {
    const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0, stolen = 0] =
      readFileSync('/proc/stat', 'utf8').split('\n')[0]?.split(/\s+/).slice(1).map(Number) ?? []
    return (user + nice + system + irq + soft + stolen) * 10
  } catch {
    return 0
  }
}

function report(figures: readonly Figure[], possible: number): Part {
  const of = (distance: number, count: number) => figures.find((figure) => figure.distance === distance && figure.inFlight === count)
  const rows = distances.map((distance) => [
    `${distance} ms`,
    ...inFlight.map((count) => `${of(distance, count)?.perSecond} (${Math.round((of(distance, count)?.share ?? 0) * 100)} %)`),
  ])
  const most = Math.max(...inFlight)
  return {
    name: 'worker',
    tables: [
      {
        caption: `Attachments a second, and of what ${availableParallelism()} cores allow by the floor (${possible.toFixed(1)} a second), less what S3 and PostgreSQL took of them`,
        rows: [['distance to S3', ...inFlight.map((count) => `${count} in flight`)], ...rows],
      },
    ],
    goals: [
      {
        what: `with ${most} jobs in flight, of what the cores allow, at the worst distance`,
        goal: 0.8,
        reached: Math.min(...figures.filter((figure) => figure.inFlight === most).map(({ share }) => share)),
        atMost: false,
      },
    ],
    figures: { floorPerSecond: Number(possible.toPrecision(3)), rates: figures },
    charts: {
      '': barChart({
        title: 'Attachments a second, by jobs in flight',
        unit: 'a second',
        cases: distances.map((distance) => `${distance} ms to S3`),
        contenders: inFlight.map((count) => ({
          name: `${count} in flight`,
          values: distances.map((distance) => of(distance, count)?.perSecond ?? null),
        })),
      }),
    },
  }
}

runPart(measureAll)
