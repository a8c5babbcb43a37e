import { join } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { missingSettings, onGlibc } from '../../src/cli/memory'
import { programOf } from '../reliability/program'
import { type Command, command, root, type Start } from './command'
import { place } from './place'

const preload = (...names: string[]) => names.map((name) => `--require ${join(root, 'test/support', name)}`).join(' ')
const asItself = { CONTAINER_MEMORY: `${2 ** 29}`, NODE_OPTIONS: preload('container.cjs') }
const asChild = { ...asItself, NODE_OPTIONS: preload('container.cjs', 'without-execve.cjs') }
const settings = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }
const glibc = process.platform === 'linux' && onGlibc()

let says: string

beforeAll(async () => {
  const parts = JSON.stringify(await programOf('parts', __dirname))
  says = `const parts = require(${parts})
    const { pid, env, execArgv } = process
    console.log(JSON.stringify({ message: 'here', pid, env, execArgv }))
    exports.photos = parts.dataSource()`
})

/** A worker in such surroundings, and what it says of itself. */
async function worker(surroundings: NodeJS.ProcessEnv, start?: Start) {
  const { env, file, ...rest } = await place()
  const path = await file('attachments.cjs', `${says}\nexports.files = new parts.Attachments(parts.options())`)
  const started = command(['worker', path, '--concurrency', '1'], { ...env, ...surroundings }, start)
  const here = await started.line('here')
  const pid = here['pid'] as number
  onTestFinished(() => void (isAlive(pid) && process.kill(pid, 'SIGKILL')))
  return { started, pid, env: here['env'] as NodeJS.ProcessEnv, execArgv: here['execArgv'], ...rest }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const advice = ({ lines }: Command) => lines.find(({ message }) => message.includes('glibc keeps'))

describe.runIf(glibc)('in little memory the command starts anew', () => {
  describe.each([
    ['as the same process', asItself, 'execve' in process],
    ['as a child', asChild, true],
  ])('%s', (_, way, possible) => {
    it.runIf(possible)('with the settings, and finishes at SIGTERM what it has begun', async () => {
      const { started, pid, env, save, shut, isWaiting, open } = await worker(way)
      expect(env).toMatchObject(settings)
      expect(pid === started.process.pid).toBe(way === asItself)
      await shut()
      await save()
      await vi.waitUntil(isWaiting, 20_000)
      started.process.kill('SIGTERM')
      expect(await started.line('draining')).toMatchObject({ signal: 'SIGTERM', running: 1 })
      await open()
      expect(await started.ended).toBe(0)
      expect(started.lines.slice(-2)).toMatchObject([{ message: 'job done' }, { message: 'stopped' }])
      expect(advice(started)).toBeUndefined()
      expect(started.complaint).toBe('')
    })

    it.runIf(possible)('and ends with its exit code', async () => {
      const { env, file } = await place()
      const started = command(['worker', await file('attachments.cjs', says)], { ...env, ...way })
      expect((await started.line('here'))['env']).toMatchObject(settings)
      expect(await started.ended).toBe(2)
      expect(started.complaint.match(/exports no Attachments/g)).toHaveLength(1)
    })

    it.runIf(possible)('and nothing is left of it when it is killed', async () => {
      const { started, pid } = await worker(way)
      started.process.kill('SIGKILL')
      await started.ended
      await vi.waitUntil(() => !isAlive(pid), 20_000)
    })

    it.runIf(possible)('with what somebody set, what Node was told, and no trace for others', async () => {
      const node = ['--max-old-space-size=300']
      const { env, execArgv } = await worker({ ...way, MALLOC_ARENA_MAX: '1' }, { node })
      expect(execArgv).toEqual(node)
      expect(env).toMatchObject({ MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' })
      expect(Object.keys(env).filter((name) => name.startsWith('TYPEORM'))).toEqual([])
    })
  })

  it('and ends by the signal that killed its child', async () => {
    const { started, pid } = await worker(asChild)
    process.kill(pid, 'SIGKILL')
    expect(await started.ended).toBeNull()
    expect(started.process.signalCode).toBe('SIGKILL')
  })
})

describe.runIf(glibc)('the command works as it was started', () => {
  it('where everything is set', async () => {
    const { started, pid } = await worker({ ...asChild, ...settings })
    expect(pid).toBe(started.process.pid)
  })

  it('where there is much memory', async () => {
    const { started, pid } = await worker({ ...asChild, CONTAINER_MEMORY: `${2 ** 31}` })
    expect(pid).toBe(started.process.pid)
  })

  it('where its parent holds a channel to it, and says what to set', async () => {
    const { started, pid } = await worker(asChild, { channel: true })
    expect(pid).toBe(started.process.pid)
    expect(advice(started)).toMatchObject({ level: 'warning' })
  })
})

it('no setting is missing where another allocator is', () => {
  expect(missingSettings(2 ** 29, true, {})).toEqual(settings)
  expect(missingSettings(2 ** 29, true, { LD_PRELOAD: '/usr/lib/libjemalloc.so.2' })).toEqual({})
})
