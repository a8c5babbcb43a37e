import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { programOf } from '../reliability/program'
import { folder } from '../support/world'
import { cli, root } from './command'
import { place } from './place'

let parts: string
const nobody = { TEST_DATABASE: 'postgres://app:secret@localhost:1/app' }

beforeAll(async () => {
  parts = JSON.stringify(await programOf('parts', __dirname))
})

interface Outcome {
  readonly code: number
  readonly output: string
  readonly complaint: string
}

/** Runs the command until it ends by itself. */
function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const surroundings = { PATH: process.env['PATH'], TEST_FOLDER: '/nowhere', ...env }
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { env: surroundings, timeout: 25_000, killSignal: 'SIGKILL' }, (error, output, complaint) =>
      resolve({ code: error ? Number(error.code) : 0, output, complaint }),
    )
  })
}

/** A module of a folder of its own. */
async function module(text: string, name = 'attachments.cjs'): Promise<string> {
  const path = join(await folder(), name)
  await writeFile(path, `const parts = require(${parts}); ${text}`)
  return path
}

describe('a command line that cannot be meant is answered with a sentence, and 2', () => {
  it.each([
    [[], 'it is not said what to do'],
    [['wrok', 'attachments.js'], "there is no command 'wrok'"],
    [['worker'], 'it is not said which file exports your Attachments'],
    [['worker', 'a.js', 'b.js', 'c.js'], 'b.js, c.js is one too many'],
    [['worker', 'a.js', '--fast'], "Unknown option '--fast'"],
    [['worker', 'a.js', '--queue'], "Option '--queue <value>' argument missing"],
    [['worker', 'a.js', '--concurrency', '0'], "--concurrency must be a whole number from 1 to 1000000, not '0'"],
    [['worker', 'a.js', '--concurrency', 'all'], "not 'all'"],
    [['worker', 'a.js', '--drain', '1.5'], "--drain must be a whole number from 0 to 1000000, not '1.5'"],
    [['worker', 'a.js', '--port', '70000'], "--port must be a whole number from 0 to 65535, not '70000'"],
  ])('%j', async (args, sentence) => {
    const { code, complaint, output } = await run(args)
    expect(complaint).toContain(sentence)
    expect(complaint).toMatch(/^typeorm-attachments: .*--help tells more\n$/)
    expect([code, output]).toEqual([2, ''])
  })
})

describe('a wrong set-up is answered with what to do', () => {
  const attachments = 'new parts.Attachments(parts.options())'
  const dataSource = 'parts.dataSource()'

  it.each<[string, string, number, string | RegExp]>([
    ['no Attachments', 'exports.attachments = {}', 2, /attachments\.cjs exports no Attachments: export what new Attachments\({ … }\) gave you/],
    ['several', `exports.a = ${attachments}; exports.b = ${attachments}`, 2, 'exports 2 Attachments: let it export the one that this worker is for'],
    ['no data source', `exports.a = ${attachments}`, 2, /exports no DataSource for the attachments, which are not connected: .*--data-source/],
    ['several data sources', `exports.a = ${attachments}; exports.b = ${dataSource}; exports.c = ${dataSource}`, 2, 'exports 2 data sources'],
    [
      'jobs in the process that saves',
      'exports.a = new parts.Attachments({ ...parts.options(), background: parts.inProcessBackground() })',
      2,
      'a worker has nothing to do: the background adapter runs jobs in the process that saves',
    ],
    [
      'jobs within save()',
      'exports.a = new parts.Attachments({ ...parts.options(), background: parts.inlineBackground() })',
      2,
      'a worker has nothing to do',
    ],
    ['a module that throws', "\n  throw new Error('no BUCKET is set')", 1, /could not be loaded: no BUCKET is set\n +at .*attachments\.cjs:2/],
    ['a module that is none', '\nexports.a = = 1', 1, /could not be loaded: Unexpected token '='\n.*attachments\.cjs:2/],
    ['an import that is missing', "require('./nothing.js')", 1, "could not be loaded: Cannot find module './nothing.js'"],
    ['an export that fails', "exports.a = Promise.reject(new Error('no secrets'))", 1, 'no secrets'],
    ['no database', `exports.a = ${attachments}; exports.b = ${dataSource}`, 1, /the data source could not be initialized: .*ECONNREFUSED/],
  ])('%s', async (_, text, exit, sentence) => {
    const { code, complaint } = await run(['worker', await module(text)], nobody)
    expect(complaint).toMatch(sentence)
    expect(complaint).not.toContain('secret@')
    expect(code).toBe(exit)
  })

  it('no file, or none that can be read', async () => {
    const { code, complaint } = await run(['worker', './dist/nowhere.js'])
    expect([code, complaint]).toEqual([2, expect.stringContaining(`there is no file ${join(process.cwd(), 'dist/nowhere.js')}: give the path of`)])
    expect(await run(['worker', '/'])).toMatchObject({ code: 2, complaint: expect.stringContaining('there is no file /') })
  })

  it('TypeScript that Node cannot read', async () => {
    const { code, complaint } = await run(['worker', await module('enum A {}', 'attachments.ts')])
    expect([code, complaint]).toEqual([1, expect.stringContaining("set NODE_OPTIONS='--import tsx'")])
  })

  it('a queue that no attachment names', async () => {
    const { env } = await place()
    const both = await module(`exports.a = ${attachments}; exports.b = ${dataSource}`)
    const { code, complaint } = await run(['worker', both, '--queue', 'videos'], env)
    expect([code, complaint]).toEqual([2, expect.stringContaining("no attachment sends its jobs to a queue 'videos': there are default, pictures")])
  })

  it('a storage that is not there', async () => {
    const { env } = await place()
    // the folder that it wants to make is a file
    const path = join(await folder(), 'file')
    await writeFile(path, '')
    const both = await module(`exports.a = ${attachments}; exports.b = ${dataSource}`)
    const { code, complaint } = await run(['worker', both], { ...env, TEST_FOLDER: path })
    expect([code, complaint]).toEqual([1, expect.stringContaining('the attachments could not be connected')])
  })

  it('a port that is taken', async () => {
    const server = createServer().listen(0)
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { code, complaint } = await run(['worker', 'a.js', '--port', `${port}`])
    expect([code, complaint]).toEqual([1, expect.stringContaining(`port ${port} cannot be used for health checks: `)])
  })
})

it('tells how it is used, and which release it is', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  expect(await run(['--help'])).toMatchObject({ code: 0, output: expect.stringContaining('typeorm-attachments worker MODULE [options]') })
  expect(await run(['worker', '-v'])).toEqual({ code: 0, output: `${version}\n`, complaint: '' })
})
