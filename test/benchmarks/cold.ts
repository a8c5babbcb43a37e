import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { type Part, quick, runPart } from './part'
import { rounds, type Timed } from './rounds'

// npm run bench:cold [-- --rounds 15 --quick]: what a function pays before its first line runs, by what it loads

const root = require.resolve('../../package.json').replace(/\/package\.json$/, '')

/** Each is loaded by a process of its own. */
const loads = {
  nothing: [],
  typeorm: ['typeorm'],
  'typeorm and this library': ['typeorm', '.'],
  'and s3Storage, with the S3 client': ['typeorm', '.', './dist/s3.js', '@aws-sdk/client-s3'],
  'and sharp, which a first picture loads': ['typeorm', '.', './dist/s3.js', '@aws-sdk/client-s3', 'sharp'],
} as const

async function load(modules: readonly string[]): Promise<void> {
  const program = modules.map((name) => `require(${JSON.stringify(name)})`).join(';')
  await promisify(execFile)(process.execPath, ['-e', program], { cwd: root })
}

async function measureAll(): Promise<Part> {
  const contenders = Object.fromEntries(Object.entries(loads).map(([name, modules]) => [name, () => load(modules)]))
  const timed = await rounds<string>(contenders, Number(optionOf('rounds') ?? (quick ? 1 : 15)))
  const names = Object.keys(loads)
  const median = (name: string) => (timed[name] as Timed).wall.median
  const rows = names.map((name, at) => [
    name,
    `${median(name)} ms`,
    at === 0 ? '' : `${Math.round(median(name) - median(names[at - 1] as string))} ms`,
  ])
  return {
    name: 'cold',
    tables: [{ caption: 'From the start of a process to its end, when it has loaded', rows: [['', 'median', 'more'], ...rows] }],
    figures: timed,
    charts: {
      '': barChart({
        title: 'Milliseconds to start, by what is loaded',
        unit: 'ms',
        cases: names,
        contenders: [{ name: 'until the process ends', values: names.map(median) }],
      }),
    },
  }
}

runPart(measureAll)
