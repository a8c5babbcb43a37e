import 'reflect-metadata'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromPath, imageProcessor, type Style } from '../../src'
import { resolveStyle } from '../../src/style/style'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { type Jobs, openJobs } from './job'
import { type Goal, quick, runPart } from './part'
import { allAtOnce, floorOf, imageMagick, oneByOne, vipsthumbnail, type Wanted, works } from './peers'
import { type Original, originals } from './pictures'
import { rounds, type Timed } from './rounds'

// npm run bench:styles [-- --rounds 9 --only gif --quick]: five styles of several pictures, by whoever can make them

/** Those of the tutorial from which the idea comes. */
const geometries = { large: '800x800>', medium: '300x300>', thumb: '100x100#', small: '50x50#', tiny: '25x25#' }

interface Case {
  readonly name: string
  readonly wanted: Wanted
}

interface Figure {
  readonly case: string
  readonly contender: string
  readonly timed: Timed
}

const names = {
  floor: 'the floor',
  processor: 'ours: processor',
  job: 'ours: whole job',
  all: 'sharp, all at once',
  one: 'sharp, one by one',
  vips: 'vipsthumbnail',
  magick: 'ImageMagick',
} as const

function casesOf(found: readonly Original[], folder: string): Case[] {
  const [twelve, six, phone, png, gif] = found as [Original, Original, Original, Original, Original]
  const of = (original: Original, format: Wanted['format'], animated = false): Case => {
    const styles = Object.entries(geometries).map(([name, geometry]) => resolveStyle(name, { geometry, format, animated }) as Style)
    return { name: `${original.name}, to ${format}`, wanted: { original, styles, format, animated, folder } }
  }
  return [
    of(twelve, 'jpeg'),
    of(six, 'jpeg'),
    of(phone, 'jpeg'),
    of(png, 'jpeg'),
    of(twelve, 'webp'),
    of(png, 'webp'),
    of(gif, 'webp', true),
    of(gif, 'gif', true),
    of(six, 'avif'),
  ]
}

async function measure({ wanted }: Case, count: number, jobs: Jobs | undefined, leftOut: Set<string>): Promise<Record<string, Timed>> {
  const { original, styles } = wanted
  const processor = imageProcessor()
  const ours = async () => {
    const input = { contentType: original.contentType, path: async () => original.path, open: () => fromPath(original.path).open() as never }
    for await (const _ of processor.process(input, styles));
  }
  const peers = {
    [names.all]: allAtOnce,
    [names.one]: oneByOne,
    [names.vips]: vipsthumbnail,
    [names.magick]: imageMagick,
  }
  const contenders: Record<string, () => unknown> = { [names.floor]: await floorOf(wanted), [names.processor]: ours }
  if (jobs) contenders[names.job] = await jobs.of(original.path, wanted, count + 1)
  for (const [name, peer] of Object.entries(peers)) {
    if (await works(peer, wanted)) contenders[name] = () => peer(wanted)
    else leftOut.add(`${name} to ${wanted.format}: it is not installed, or cannot write that`)
  }
  return rounds(contenders, count)
}

async function main() {
  const folder = await mkdtemp(join(tmpdir(), 'attachments-bench-'))
  const leftOut = new Set<string>()
  const jobs = await openJobs().catch((error) => void leftOut.add(`the whole job: ${error.message}`))
  try {
    const count = Number(optionOf('rounds') ?? (quick ? 1 : 9))
    const all = casesOf(await originals(folder, quick ? 0.1 : 1), folder)
    const only = optionOf('only')
    const cases = only === undefined ? all.slice(0, quick ? 1 : undefined) : all.filter(({ name }) => name.includes(only))
    const figures: Figure[] = []
    for (const one of cases) {
      const timed = await measure(one, count, jobs || undefined, leftOut)
      for (const [contender, figure] of Object.entries(timed)) figures.push({ case: one.name, contender, timed: figure })
      console.log(
        `${one.name}: ${Object.entries(timed)
          .map(([name, { wall }]) => `${name} ${wall.median} ms`)
          .join(', ')}`,
      )
    }
    return {
      name: 'styles',
      figures,
      leftOut: [...leftOut],
      goals: goalsOf(figures),
      ...shown(
        figures,
        cases.map(({ name }) => name),
      ),
    }
  } finally {
    await jobs?.close()
    await rm(folder, { recursive: true })
  }
}

function goalsOf(figures: readonly Figure[]): Goal[] {
  const of = (contender: string, at: (name: string) => boolean = () => true) =>
    figures.filter((figure) => figure.contender === contender && at(figure.case))
  const worst = (some: readonly Figure[]) => Math.max(...some.map(({ timed }) => timed.ratio.median))
  const toJpeg = (name: string) => name.startsWith('JPEG') && name.endsWith('to jpeg')
  const against = (contender: string, what: 'wall' | 'cpu') =>
    Math.min(
      ...of(contender, toJpeg).map(
        (peer) => peer.timed[what].median / (of(names.processor).find((own) => own.case === peer.case)?.timed[what].median ?? 1),
      ),
    )
  const goals: Goal[] = [
    { what: 'the processor against the floor, wall time, in the worst case', goal: 1.15, reached: worst(of(names.processor)), atMost: true },
    { what: 'the whole job against the floor, wall time, in the worst case', goal: 1.5, reached: worst(of(names.job)), atMost: true },
    {
      what: 'CPU time of sharp one by one against ours, JPEG to JPEG, in the worst case',
      goal: 2.5,
      reached: against(names.one, 'cpu'),
      atMost: false,
    },
    {
      what: 'wall time of ImageMagick against ours, JPEG to JPEG, in the worst case',
      goal: 30,
      reached: against(names.magick, 'wall'),
      atMost: false,
    },
  ]
  return goals.filter(({ reached }) => Number.isFinite(reached))
}

function shown(figures: readonly Figure[], cases: readonly string[]) {
  const find = (name: string, contender: string) => figures.find((figure) => figure.case === name && figure.contender === contender)?.timed
  const present = Object.values(names).filter((contender) => figures.some((figure) => figure.contender === contender))
  const rowsOf = (what: 'wall' | 'cpu', ratio: 'ratio' | 'cpuRatio') =>
    cases.map((name) => [
      name,
      ...present.map((contender) => {
        const timed = find(name, contender)
        return timed ? `${timed[what].median} (× ${timed[ratio].median})` : 'left out'
      }),
    ])
  const head = (what: string) => [`five styles: ${what}, and × the floor`, ...present]
  return {
    tables: [
      { caption: 'Wall time. Medians; the spread is in the JSON.', rows: [head('ms'), ...rowsOf('wall', 'ratio')] },
      { caption: 'CPU time, of all cores.', rows: [head('ms of CPU'), ...rowsOf('cpu', 'cpuRatio')] },
    ],
    charts: {
      '': barChart({
        title: 'Five styles of a picture: milliseconds, less is better',
        unit: 'ms',
        logarithmic: true,
        cases,
        contenders: present.map((contender) => ({ name: contender, values: cases.map((name) => find(name, contender)?.wall.median ?? null) })),
      }),
    },
  }
}

runPart(main)
