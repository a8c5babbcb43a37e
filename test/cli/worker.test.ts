import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, expect, it, vi } from 'vitest'
import { programOf } from '../reliability/program'
import { command, root } from './command'
import { place } from './place'

let parts: string
let commonjs: string

beforeAll(async () => {
  parts = JSON.stringify(await programOf('parts', __dirname))
  commonjs = `const parts = require(${parts})
    const names = { photos: parts.dataSource(), files: new parts.Attachments(parts.options()) }
    module.exports = names`
})

it('performs the jobs of an ES module that awaits its connection, a line for each, until SIGTERM', async () => {
  const { env, file, photos, save } = await place()
  const photo = await save()
  const module = await file(
    'attachments.mjs',
    `import parts from ${parts}
    export const attachments = new parts.Attachments(parts.options())
    await attachments.connect(await parts.dataSource().initialize())`,
  )
  const worker = command(['worker', module, '--concurrency', '3', '--queue', 'pictures', '--queue', 'default'], env)
  expect(await worker.line('started')).toMatchObject({ pid: worker.process.pid, concurrency: 3, queues: ['pictures', 'default'] })
  const { picture } = await photos.findOneByOrFail({ id: photo.id })
  const job = { level: 'info', entity: 'Photo', attachment: 'picture', attempt: 1, ms: expect.any(Number) }
  expect(await worker.line('job done')).toEqual({
    ...job,
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    message: 'job done',
    result: 'done',
    kind: 'process',
    id: photo.id,
    version: picture?.version,
    styles: expect.arrayContaining(['original', 'thumb']),
    bytes: expect.any(Number),
  })
  expect(await photos.findOneByOrFail({ id: photo.id })).toMatchObject({ picture: { processing: false } })

  await photos.remove(photo)
  await vi.waitFor(() => expect(worker.lines.at(-1)).toMatchObject({ ...job, kind: 'delete', rows: 1, keys: 2 }), 20_000)

  worker.process.kill('SIGTERM')
  expect(await worker.ended).toBe(0)
  expect(worker.lines.slice(-2)).toMatchObject([{ message: 'draining', signal: 'SIGTERM', running: 0 }, { message: 'stopped' }])
  expect(worker.complaint).toBe('')
})

it('connects what a CommonJS module exports under any name; what fails is said, attempt by attempt', async () => {
  const { env, file, refuse, save } = await place()
  await refuse()
  const { id } = await save()
  const worker = command(['worker', await file('attachments.cjs', commonjs)], env)
  const error = { code: 'unexpected', message: 'no room' }
  expect(await worker.line('job later')).toMatchObject({ level: 'warning', result: 'later', id, attempt: 1, delay: 1, error })
  expect(await worker.line('job failed')).toMatchObject({ level: 'error', result: 'failed', id, attempt: 2, error })
  worker.process.kill('SIGINT')
  expect(await worker.ended).toBe(0)
})

it('takes the data source from another module, also as a promise', async () => {
  const { env, file, save } = await place()
  await save()
  const module = await file('attachments.cjs', `const parts = require(${parts}); module.exports = new parts.Attachments(parts.options())`)
  const dataSource = await file('data-source.mjs', `import parts from ${parts}\nexport default parts.dataSource().initialize()`)
  const worker = command(['worker', module, '-d', dataSource], env)
  await worker.line('job done')
  worker.process.kill('SIGTERM')
  expect(await worker.ended).toBe(0)
})

it('runs TypeScript where Node is told how', async () => {
  const { env, save } = await place()
  await save()
  const tsx = pathToFileURL(require.resolve('tsx')).href
  const typescript = { ...env, NODE_OPTIONS: `--import ${tsx}`, TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') }
  const worker = command(['worker', join(__dirname, 'typescript.ts')], typescript)
  await worker.line('job done')
})

it('finishes at SIGTERM what it has begun, and takes no more', async () => {
  const { env, file, isWaiting, open, photos, save, shut } = await place()
  await shut()
  const first = await save()
  const worker = command(['worker', await file('attachments.cjs', commonjs), '--concurrency', '1', '--port', '0'], env)
  await vi.waitUntil(isWaiting, 20_000)
  const second = await save()
  // both at once, as npx makes one Ctrl-C into two
  worker.process.kill('SIGINT')
  worker.process.kill('SIGTERM')
  expect(await worker.line('draining')).toMatchObject({ running: 1, seconds: 25 })
  const { port } = await worker.line('listening')
  expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(503)
  expect((await fetch(`http://127.0.0.1:${port}/live`)).status).toBe(200)
  await open()
  expect(await worker.ended).toBe(0)
  expect(worker.lines.slice(-2)).toMatchObject([{ message: 'job done', id: first.id }, { message: 'stopped' }])
  expect(await photos.findOneByOrFail({ id: second.id })).toMatchObject({ picture: { processing: true } })
})

it('cuts jobs short when the time to drain is over, and the next worker does them', async () => {
  const { env, file, isWaiting, open, save, shut } = await place()
  await shut()
  const { id, picture } = await save()
  const module = await file('attachments.cjs', commonjs)
  const worker = command(['worker', module, '--drain', '1'], env)
  await vi.waitUntil(isWaiting, 20_000)
  worker.process.kill('SIGTERM')
  expect(await worker.ended).toBe(1)
  expect(await worker.line('cut short')).toMatchObject({ level: 'error', running: 1, jobs: [{ entity: 'Photo', id, version: picture?.version }] })
  expect(worker.complaint).toMatch('draining took more than 1 s; jobs cut short: 1.')
  await open()
  const next = command(['worker', module], env)
  expect(await next.line('job done')).toMatchObject({ id })
})

it('ends at once when it is told again', async () => {
  const { env, file, isWaiting, save, shut } = await place()
  await shut()
  await save()
  const worker = command(['worker', await file('attachments.cjs', commonjs), '--drain', '600'], env)
  await vi.waitUntil(isWaiting, 20_000)
  const again = setInterval(() => worker.process.kill('SIGTERM'), 100)
  expect(await worker.ended.finally(() => clearInterval(again))).toBe(1)
  expect(worker.complaint).toMatch('a second SIGTERM came; jobs cut short: 1.')
})

it('ends while it still starts', async () => {
  const { env, file } = await place()
  const module = await file('attachments.mjs', 'await new Promise(() => undefined)')
  const worker = command(['worker', module, '--port', '0'], env)
  const { port } = await worker.line('listening')
  const ready = await fetch(`http://127.0.0.1:${port}/ready`)
  expect([ready.status, await ready.json()]).toEqual([503, { status: 'starting' }])
  worker.process.kill('SIGTERM')
  expect(await worker.ended).toBe(0)
})

it('says whether it is ready; warnings are lines of the log', async () => {
  const { cutOff, env, file, letIn } = await place()
  const worker = command(['worker', await file('attachments.cjs', commonjs), '--port', '0'], env)
  await worker.line('started')
  const { port } = await worker.line('listening')
  const ready = async () => (await fetch(`http://127.0.0.1:${port}/ready`)).json()
  expect(await ready()).toEqual({ status: 'working' })

  await cutOff()
  await vi.waitFor(async () => expect(await ready()).toEqual({ status: 'database does not answer' }), 20_000)
  expect((await fetch(`http://127.0.0.1:${port}/live`)).status).toBe(200)
  await vi.waitUntil(() => worker.lines.some(({ level, name }) => level === 'warning' && name === 'AttachmentWarning'), 20_000)
  await letIn()
  await vi.waitFor(async () => expect(await ready()).toEqual({ status: 'working' }), 20_000)
  expect(worker.complaint).toBe('')
})
