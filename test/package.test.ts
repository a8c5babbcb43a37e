import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { clientConfig } from '../examples/services/s3'
import { newBucket } from './support/world'

const repository = dirname(import.meta.dirname)
const available = join(repository, 'node_modules')
/** Of a test, and with it of two programs. Milliseconds. */
const timeout = 120_000
let home: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'attachments-package-'))
  await cp(join(import.meta.dirname, 'consumers'), home, { recursive: true })
  await install()
})

afterAll(() => rm(home, { recursive: true, force: true }))

it(
  'is used by an ES module',
  async () => {
    expect(await run('esm', process.execPath, 'main.js')).toContain('all is well')
  },
  timeout,
)

it(
  'is used by a CommonJS module',
  async () => {
    expect(await run('commonjs', process.execPath, 'main.js')).toContain('all is well')
  },
  timeout,
)

it(
  'is used by TypeScript that becomes CommonJS',
  async () => {
    await execute(join(home, 'typescript'), join(available, '.bin/tsc'))
    expect(await run('typescript', process.execPath, 'built/main.js')).toContain('all is well')
  },
  timeout,
)

it(
  'is used in Jest',
  async () => {
    await run('jest', join(available, '.bin/jest'))
  },
  timeout,
)

it(
  'is used by a page, through a bundler',
  async () => {
    const folder = join(home, 'browser')
    await execute(folder, join(available, '.bin/tsc'))
    await execute(folder, join(available, '.bin/rolldown'), ['main.ts', '--platform', 'browser', '--file', 'built.js'])
    const built = await readFile(join(folder, 'built.js'), 'utf8')
    expect(built).toContain('application/octet-stream')
    expect(built).not.toMatch(/^import /m)
  },
  timeout,
)

it(
  'brings the worker command',
  async () => {
    const { bin } = JSON.parse(await readFile(join(home, 'node_modules/typeorm-attachments/package.json'), 'utf8'))
    const command = join(home, 'node_modules/typeorm-attachments', bin['typeorm-attachments'])
    const output = await execute(join(home, 'esm'), process.execPath, [command, 'worker', './worker.js'])
    expect(output).toContain('"message":"stopped"')
  },
  timeout,
)

/** Unpacks the tarball beside links to what it declares and what the consumers use: anything else it cannot find. */
async function install(): Promise<void> {
  const modules = join(home, 'node_modules')
  const target = join(modules, 'typeorm-attachments')
  await mkdir(target, { recursive: true })
  await execute(repository, 'npm', ['pack', '--ignore-scripts', '--pack-destination', home])
  const tarball = (await readdir(home)).find((name) => name.endsWith('.tgz')) as string
  await execute(target, 'tar', ['-xzf', join(home, tarball), '--strip-components=1'])
  const { dependencies, peerDependencies } = JSON.parse(await readFile(join(target, 'package.json'), 'utf8'))
  for (const name of [...Object.keys({ ...dependencies, ...peerDependencies }), '@types/node', 'reflect-metadata', 'sql.js']) {
    const link = join(modules, name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(available, name), link, 'junction')
  }
}

/** Runs a program in a consumer's folder, which has a bucket of its own; what it printed. */
async function run(consumer: string, program: string, ...parameters: string[]): Promise<string> {
  const { bucket } = await newBucket()
  const s3 = { S3_CLIENT: JSON.stringify(clientConfig(inject('s3'))), S3_BUCKET: bucket }
  const redis = inject('redis')
  return execute(join(home, consumer), program, parameters, { ...s3, ...(redis && { REDIS_URL: redis }) })
}

/** Nothing of this process's surroundings goes along, and caches stay in the temporary folder. */
function execute(cwd: string, program: string, parameters: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const surroundings = { PATH: process.env['PATH'], HOME: home, TMPDIR: home, ...env }
  return new Promise((resolve, reject) => {
    execFile(program, parameters, { cwd, env: surroundings, timeout: timeout / 2 - 1_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const outcome = error?.killed ? 'did not end in time' : `failed with code ${error?.code}`
      if (error) reject(new Error(`${outcome}: ${[program, ...parameters].join(' ')}\n${stdout}${stderr}`))
      else resolve(stdout)
    })
  })
}
