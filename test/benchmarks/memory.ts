import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { startS3 } from '../../examples/services/s3'
import { flooded } from '../memory/flooded'
import { run } from '../memory/limited'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { type Goal, type Part, quick, runPart } from './part'
import { originals } from './pictures'

// npm run bench:memory [-- --jobs 5000 --quick]: what processes hold at the most; Linux only

const sizes = quick ? { megabytes: 20, uploads: 5, jobs: 20, scale: 0.1 } : { megabytes: 2_048, uploads: 200, jobs: 5_000, scale: 1 }

interface Row {
  readonly what: string
  /** MiB. */
  readonly before: number
  readonly peak: number
}

async function measureAll(): Promise<Part> {
  const [postgres, s3, folder] = await Promise.all([startPostgres(), startS3(), mkdtemp(join(tmpdir(), 'attachments-memory-'))])
  const jobs = Number(optionOf('jobs') ?? sizes.jobs)

  /** Runs one of the programs on a database of its own, and gives what it printed. */
  async function child<T>(name: string, given: object): Promise<T> {
    await createDatabase(postgres.url('postgres'), name)
    const program = join(__dirname, '../memory', `${name}.ts`)
    const printed = await run(program, { ...given, folder, s3, database: postgres.url(name) })
    if (printed === '') throw new Error(`${name} did not come to its end`)
    console.log(`${name}: ${printed.trim()}`)
    return JSON.parse(printed)
  }

  try {
    const [picture] = await originals(folder, sizes.scale)
    const large = await child<{ before: number; attached: number; stored: number }>('large-file', { megabytes: sizes.megabytes })
    const uploads = await child<{ before: number; peak: number }>('uploads', { picture: picture?.path, uploads: sizes.uploads })
    const { held } = await child<{ held: number[] }>('jobs', { jobs })
    const worker = quick ? undefined : await flooded(14)
    const [first = 0, last = 0] = [held[1], held.at(-1)]
    const rows: Row[] = [
      { what: `a file of ${sizes.megabytes} MB, attached`, before: mebibytes(large.before), peak: mebibytes(large.attached) },
      { what: 'and brought to S3', before: mebibytes(large.before), peak: mebibytes(large.stored) },
      { what: `${sizes.uploads} uploads of 12 megapixels`, before: mebibytes(uploads.before), peak: mebibytes(uploads.peak) },
      { what: `${jobs} jobs: after a fifth, and all`, before: mebibytes(first), peak: mebibytes(last) },
    ]
    if (worker) rows.push({ what: 'a worker of 512 MB, 60 megapixels', before: mebibytes(worker.before), peak: mebibytes(worker.peak) })
    return report(rows, { large, uploads, held, worker }, worker)
  } finally {
    await Promise.all([postgres.stop(), s3.stop()])
    await rm(folder, { recursive: true, force: true })
  }
}

function report(rows: readonly Row[], figures: object, worker: Awaited<ReturnType<typeof flooded>> | undefined): Part {
  const grown = (at: number) => (rows[at]?.peak ?? 0) - (rows[at]?.before ?? 0)
  const goals: Goal[] = [
    { what: 'a large file attached and stored: MiB more than before', goal: 100, reached: grown(1), atMost: true },
    { what: 'jobs: MiB more at the end than after a fifth of them', goal: 20, reached: grown(3), atMost: true },
  ]
  if (worker)
    goals.push({ what: 'pictures done by a worker of 512 MB, of those that waited', goal: worker.pictures, reached: worker.done, atMost: false })
  return {
    name: 'memory',
    tables: [
      {
        caption: 'MiB that a process holds',
        rows: [['', 'before', 'at the most', 'more'], ...rows.map(({ what, before, peak }, at) => [what, before, peak, grown(at)])],
      },
    ],
    goals,
    leftOut: worker ? [] : ['the flood of huge pictures'],
    figures,
    charts: {
      '': barChart({
        title: 'Memory: MiB',
        unit: 'MiB',
        cases: rows.map(({ what }) => what),
        contenders: [
          { name: 'before', values: rows.map(({ before }) => before) },
          { name: 'at the most', values: rows.map(({ peak }) => peak) },
        ],
      }),
    },
  }
}

const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20)

runPart(measureAll)
