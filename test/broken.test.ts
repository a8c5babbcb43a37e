import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import pg from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  type BackgroundAdapter,
  inProcessBackground,
  type MemoryStorage,
  memoryStorage,
  NotHere,
  type Perform,
  type Storage,
  StorageError,
  TryLater,
} from '../src'
import { keyOf } from '../src/background/job'
import type { ObjectFacts } from '../src/storage/storage'
import { report } from '../src/testing/background/sample'
import { backgroundContract, type ContractCase, storageContract } from '../src/testing/testing'
import { elsewhere, timeout } from './support/contract'
import { brokenDisk, type Flaw } from './support/elsewhere/broken-disk'
import { tableBackground } from './support/table-background'
import { folder, newDatabase } from './support/world'

/** The contracts are only worth what they notice: each of these is wrong in one way, and one case says so in words. */

function run(cases: readonly ContractCase[], name: string): Promise<void> {
  const found = cases.find((one) => one.name === name)
  if (!found) throw new Error(`there is no case '${name}'`)
  return found.run()
}

const complaint = (message: RegExp) => expect.objectContaining({ name: 'AssertionError', message: expect.stringMatching(message) })

describe('the contract of storages notices one that', () => {
  const wholeOf = async (body: Readable | Uint8Array) => (body instanceof Readable ? buffer(body) : Buffer.from(body))

  const sized = (found?: ObjectFacts) => found && { ...found, etag: String(found.size) }

  it.each<[flaw: string, name: string, message: RegExp, broken: (sound: MemoryStorage) => Partial<Storage>]>([
    [
      'cuts the end off',
      'gives back a stream of 300 kB whose size is not told byte for byte',
      /what was written from a stream: expected '300000 bytes.*found '299000 bytes/,
      (sound) => ({ write: async (key, body, info) => sound.write(key, (await wholeOf(body)).subarray(0, 299_000), info) }),
    ],
    [
      'writes no more than it was told',
      'given a stream that breaks late without a word, its size told, leaves nothing',
      /writing from a stream that breaks: expected an error, and there was none/,
      (sound) => ({
        write: async (key, body, info) => {
          const pieces: Buffer[] = []
          if (body instanceof Readable) await new Promise((resolve) => body.on('data', (piece) => pieces.push(piece)).once('close', resolve))
          await sound.write(key, Buffer.concat(pieces), info)
        },
      }),
    ],
    [
      'keeps the part of a body that broke',
      'given a stream that breaks soon with an error, leaves nothing',
      /what stat\(\) tells of a key whose body broke off: expected undefined, found \{ size: /,
      (sound) => ({
        write: async (key, body, info) => {
          let held = Buffer.alloc(0)
          for await (const piece of body instanceof Readable ? body : [body]) {
            held = Buffer.concat([held, piece])
            await sound.write(key, held, info)
          }
        },
      }),
    ],
    [
      'lets the source of a failed write go on',
      'given a stream that breaks late with an error, leaves nothing',
      /the stream: expected it to be destroyed/,
      () => ({
        write: async () => {
          throw new StorageError('full', 'the storage is full')
        },
      }),
    ],
    [
      'shows the Buffer instead of what it held',
      'keeps what it was given, whatever happens to the Buffer afterwards',
      /what the Buffer held when it was written: expected/,
      () => {
        const objects = new Map<string, Uint8Array>()
        return {
          write: async (key, body) => void objects.set(key, body as Uint8Array),
          read: async (key) => Readable.from([objects.get(key)]),
        }
      },
    ],
    [
      'gives nothing for what is not there, instead of an error',
      'rejects to read what is not there',
      /reading what is not there: expected an error, and there was none/,
      (sound) => ({ read: async (key) => (sound.objects.has(key) ? sound.read(key) : Readable.from([])) }),
    ],
    [
      'rejects with any error for what is not there',
      'rejects to read what is not there',
      /the code of the error: expected 'object_missing', found undefined/,
      () => ({ read: () => Promise.reject(new Error('no such thing')) }),
    ],
    [
      'takes keys for URLs',
      'takes keys with percent signs',
      /the keys that are listed: expected \[ '100%\/50%25\/a%2Fb.png' \]/,
      (sound) => ({
        write: (key, body, info) => sound.write(key.replaceAll('%25', '%'), body, info),
        stat: async () => ({ size: 100 }),
        read: async () => sound.read([...sound.objects.keys()][0] as string),
      }),
    ],
    [
      'deletes what begins like a key',
      'deletes many keys at once and leaves the others',
      /what is under 'a\/0\/kept', which was not deleted: expected '10 bytes.*, found 'nothing'/,
      (sound) => ({
        delete: async (keys) => sound.delete([...sound.objects.keys()].filter((key) => keys.some((one) => key.startsWith(one.slice(0, 3))))),
      }),
    ],
    [
      'forgets what it holds when it is prepared',
      'can be prepared again, as every process does, and keeps what it holds',
      /what was written before another prepare\(\): expected '1000 bytes.*, found 'nothing'/,
      (sound) => ({ prepare: async () => sound.delete([...sound.objects.keys()]) }),
    ],
    [
      'lists one page',
      'lists all of 1100 objects, each once',
      /how many keys are listed: expected 1100, found 1000/,
      (sound) => ({
        async *list(prefix) {
          let left = 1000
          for await (const found of sound.list?.(prefix) ?? []) if (left-- > 0) yield found
        },
      }),
    ],
    [
      'lists folders',
      'lists what begins with a prefix, be it of whole segments or not',
      /the keys below 'a': expected/,
      (sound) => ({ list: (prefix) => sound.list?.(prefix === '' ? '' : prefix.replace(/\/?$/, '/')) ?? Readable.from([]) }),
    ],
    [
      'tells times in seconds',
      'lists size and time of what is stored',
      /when it was written: expected a Date of today, found .* 1970/,
      (sound) => ({
        async *list(prefix) {
          for await (const found of sound.list?.(prefix) ?? []) yield { ...found, modified: new Date(found.modified.getTime() / 1000) }
        },
      }),
    ],
    [
      'writes again what may be written once',
      'refuses to write 1 kB once whose size is told where something is, and leaves that',
      /writing once, by write\(key, body, \{ once: true \}\), where something is already: expected an error, and there was none/,
      (sound) => ({ write: (key, body, { once: _, ...info }) => sound.write(key, body, info) }),
    ],
    [
      'says that something is there, when it has replaced it',
      'refuses to write 9 MB once whose size is not told where something is, and leaves that',
      /what was there before somebody tried to write once: expected '5000 bytes.*found '9437184 bytes/,
      (sound) => ({
        write: async (key, body, { once, ...info }) => {
          const there = once && sound.objects.has(key)
          await sound.write(key, body, info)
          if (there) throw new StorageError('object_exists', 'something is there')
        },
      }),
    ],
    [
      'writes nothing once',
      'writes once where nothing is, and what was deleted is nothing',
      /what was written once from a Buffer: expected '1000 bytes.*found 'nothing'/,
      (sound) => ({ write: async (key, body, info) => (info.once ? undefined : sound.write(key, body, info)) }),
    ],
    [
      'gives all where the beginning is asked for',
      'reads only the beginning, where that is asked for',
      /what read\(key, \{ length: 1 \}\) gives of 2 MB: expected '1 bytes.*found '2097152 bytes/,
      (sound) => ({ read: (key) => sound.read(key) }),
    ],
    [
      'takes the size for an etag',
      'tells the same bytes apart from others by their etag',
      /how many etags 6 different bodies have .*: expected 6, found 4/,
      (sound) => ({ stat: async (key) => sized(await sound.stat(key)) }),
    ],
    [
      'tells an etag and does not ask for it',
      'reads what has the etag that is asked for, and refuses what has another',
      /reading by the etag of what was there before: expected an error, and there was none/,
      (sound) => ({ stat: async (key) => sized(await sound.stat(key)) }),
    ],
    [
      'copies whatever is there',
      'copies what has the etag that is asked for, and refuses what has another',
      /the code of the error when what is to be copied has another etag: expected 'object_changed', found true/,
      (sound) => ({
        stat: async (key) => sized(await sound.stat(key)),
        copy: async (_, from, to, info) => sound.write(to, await sound.read(from), info).then(() => true),
      }),
    ],
    [
      'says that it has copied, and has not',
      'copies what it holds, whatever the keys, and keeps what was copied',
      /what is under 'c\/d' when copy\(\) from 'a\/b' gave true: expected '70000 bytes.*found 'nothing'/,
      () => ({ copy: async () => true }),
    ],
    [
      'moves what it should copy',
      'copies what it holds, whatever the keys, and keeps what was copied',
      /what is under 'a\/b', which was copied: expected '70000 bytes.*found 'nothing'/,
      (sound) => ({
        copy: async (_, from, to, info) => {
          await sound.write(to, await sound.read(from), info)
          await sound.delete([from])
          return true
        },
      }),
    ],
    [
      'copies and says that it has not',
      'replaces what was under the key that it copies to',
      /what is under 'b' when copy\(\) gave false: expected '5000 bytes.*found '10 bytes/,
      (sound) => ({ copy: async (_, from, to, info) => sound.write(to, await sound.read(from), info).then(() => false) }),
    ],
    [
      'copies nothing to where something was',
      'copies nothing that is not there, and leaves what was there before',
      /copying what is not there: expected false or an error, found true/,
      (sound) => ({ copy: async (_, from, to, info) => sound.write(to, await sound.read(from).catch(() => Buffer.alloc(0)), info).then(() => true) }),
    ],
    [
      'is another place whenever it is asked',
      'knows which place it is, and always says the same',
      /the id that area\(\) gives again: expected '\d+', found '\d+'/,
      () => ({ area: async () => ({ id: `${process.hrtime.bigint()}`, where: 'anywhere' }) }),
    ],
    [
      'shows its mark to everybody',
      'holds nothing because it was asked which place it is',
      /the keys of an empty storage: expected none, found '.mark'/,
      (sound) => ({
        area: async () => {
          await sound.write('.mark', Buffer.from('1'), { contentType: 'text/plain' })
          return { id: '1', where: 'here' }
        },
      }),
    ],
  ])('%s', async (_, name, message, broken) => {
    const make = async () => {
      const sound = memoryStorage()
      return { ...sound, ...broken(sound) }
    }
    await expect(run(storageContract(make), name)).rejects.toEqual(complaint(message))
  })

  it.each<[Flaw, string, RegExp]>([
    [
      'in place',
      'leaves no part when a process is killed half-way through a body',
      /killed half-way.*: expected 'killed\/new' to hold nothing or the whole/,
    ],
    ['in place, when all was read', 'leaves no part when a process is killed after the end of a body', /ms after the end of a body: expected/],
    [
      'later',
      'holds what a write returned for when the process is killed right after',
      /when write\(\) returned.*expected '12582912 bytes.*'nothing'/,
    ],
  ])(
    'writes %s',
    async (flaw, name, message) => {
      const make = async () => {
        const root = await folder()
        Object.assign(process.env, { CONTRACT_ROOT: root, CONTRACT_FLAW: flaw })
        return brokenDisk(root, flaw)
      }
      await expect(run(storageContract(make, elsewhere('broken-disk')), name)).rejects.toEqual(complaint(message))
    },
    timeout,
  )
})

describe('the contract of background adapters notices one that', () => {
  /** Does to each job what it is told, instead of performing it. */
  const performing = (change: (perform: Perform) => Perform) => (sound: BackgroundAdapter) => ({
    start: (perform: Perform) => sound.start?.(change(perform)),
  })

  it.each<[flaw: string, name: string, message: RegExp, broken: (sound: BackgroundAdapter) => Partial<BackgroundAdapter>]>([
    [
      'loses jobs',
      'brings every one of many jobs',
      /all of 50 jobs should be performed, but 34 were within/,
      (sound) => {
        let count = 0
        return { enqueue: async (job, now) => (count++ % 3 === 2 ? undefined : sound.enqueue(job, now)) }
      },
    ],
    [
      'changes jobs',
      'brings a job unchanged, as its first attempt',
      /the job that was brought: expected .*number: 7,.*found .*number: "7"/,
      (sound) => ({ enqueue: (job, now) => sound.enqueue(JSON.parse(JSON.stringify(job).replace(':7', ':"7"')), now) }),
    ],
    [
      'counts attempts from 0',
      'brings a job unchanged, as its first attempt',
      /its attempt: expected 1, found 0/,
      performing((perform) => (job, attempt) => perform(job, attempt - 1)),
    ],
    [
      'does not count attempts',
      'brings a job again that is to be tried later, with the next attempt and not too soon',
      /the number of attempt 2: expected 2, found 1/,
      performing((perform) => (job) => perform(job, 1)),
    ],
    [
      'does not bring jobs back',
      'brings a job again that is to be tried later, with the next attempt and not too soon',
      /attempt 2 of a job that is to be tried again after 300 ms should come within/,
      performing((perform) => (job, attempt) => perform(job, attempt).catch(() => report)),
    ],
    [
      'brings jobs back at once',
      'brings a job again that is to be tried later, with the next attempt and not too soon',
      /attempt 2 was to come after 300 ms: expected no less, found \d+ ms/,
      performing((perform) => (job, attempt) => perform(job, attempt).catch((error) => Promise.reject(new TryLater(0, error)))),
    ],
    [
      'knows no delay',
      'waits before the first attempt for as long as a job was sent with',
      /a job was sent with a delay of 300 ms: expected no less, found \d+ ms/,
      (sound) => ({ enqueue: (job, sending) => sound.enqueue(job, { ...sending, delay: 0 }) }),
    ],
    [
      'counts an attempt that was none',
      'brings a job again that could not be begun, with the same attempt',
      /the attempts of a job that was put back, failed, and was put back again: expected \[ 1, 1, 2, 2 \], found \[ 1, 2, 3, 4 \]/,
      performing((perform) => (job, attempt) => perform(job, attempt).catch(({ delay, cause }) => Promise.reject(new TryLater(delay, cause)))),
    ],
    [
      'gives up on what it could not begin',
      'brings a job again that could not be begun, with the same attempt',
      /a job should come 4 times that was put back, failed, and was put back again, but came 1 times within/,
      performing((perform) => (job, attempt) => perform(job, attempt).catch((error) => (error instanceof NotHere ? report : Promise.reject(error)))),
    ],
    [
      'takes from every queue',
      'leaves the jobs of another queue alone',
      /how often a job of the queue 'other' came to a worker of 'default': expected 0, found 1/,
      () => ({}),
    ],
    [
      'takes from one queue only',
      'leaves the jobs of another queue alone',
      /a job of the queue 'other' should be performed by its worker within/,
      (sound) => ({ enqueue: async (job, sending) => (sending.queue === 'other' ? undefined : sound.enqueue(job, sending)) }),
    ],
    [
      'knows no keys',
      'brings one of several jobs with one key that wait, and another one when that is done',
      /how often a job came that was sent three times under one key, while it waited: expected 1, found 3/,
      (sound) => ({ enqueue: (job, sending) => sound.enqueue(job, { ...sending, key: randomUUID() }) }),
    ],
    [
      'never forgets a key',
      'brings one of several jobs with one key that wait, and another one when that is done',
      /a job that is done should come again when it is sent again under its key within/,
      (sound) => {
        const known = new Set<string>()
        return { enqueue: async (job, sending) => (known.size < known.add(sending.key).size ? sound.enqueue(job, sending) : undefined) }
      },
    ],
    [
      'swallows a job while another of its key runs',
      'brings a job that is sent while another of its key runs',
      /a job that is sent again while it runs should come again within/,
      (sound) => {
        const running = new Set<string>()
        return {
          start: (perform) =>
            sound.start?.((job, attempt) => {
              running.add(keyOf(job))
              return perform(job, attempt).finally(() => running.delete(keyOf(job)))
            }),
          enqueue: async (job, sending) => (running.has(sending.key) ? undefined : sound.enqueue(job, sending)),
        }
      },
    ],
    [
      'brings what came first',
      'brings jobs with lower priority numbers first',
      /the priorities of jobs, in the order in which they came: expected \[ 0, 3, 10, 20 \], found \[ 20, 0, 3, 10 \]/,
      () => inProcessBackground({ concurrency: 1 }),
    ],
    [
      'waits with a job for its time',
      'lets others pass while jobs wait for their time',
      /3 jobs behind 3 that wait for an hour should be performed, but 0 were/,
      performing((perform) => (job, attempt) => perform(job, attempt).catch(() => new Promise(() => undefined))),
    ],
    [
      'brings back what failed for good',
      'does not bring back a job that failed for good, and goes on with others',
      /how often a job came that failed with another error than TryLater: expected 1, found \d/,
      performing((perform) => (job, attempt) => perform(job, attempt).catch((error) => Promise.reject(new TryLater(0, error)))),
    ],
    [
      'stops when a job failed for good',
      'does not bring back a job that failed for good, and goes on with others',
      /3 jobs behind 2 that failed should be performed, but \d were/,
      performing((perform) => {
        let failed = false
        return (job, attempt) =>
          failed
            ? Promise.resolve(report)
            : perform(job, attempt).catch(() => {
                failed = true
                return report
              })
      }),
    ],
    [
      'brings back what is done',
      'does not bring back a job that is done',
      /how often a job came that was done at once: expected 1, found 2/,
      performing((perform) => async (job, attempt) => {
        await perform(job, attempt)
        return perform(job, attempt)
      }),
    ],
    [
      'lets whoever enqueues wait',
      'does not keep whoever enqueues waiting for the job',
      /enqueue\(\) should return within/,
      () => {
        let perform: Perform = async () => report
        return {
          start(given) {
            perform = given
          },
          enqueue: async (job) => void (await perform(job, 1)),
        }
      },
    ],
    [
      'performs more at a time',
      'performs 2 jobs at a time and no more',
      /at a time: expected 2, found [3-8]/,
      () => inProcessBackground({ concurrency: 8 }),
    ],
    [
      'performs fewer at a time',
      'performs 2 jobs at a time and no more',
      /8 jobs should be performed, 2 at a time, but 0 were, 1 at a time/,
      () => inProcessBackground({ concurrency: 1 }),
    ],
    [
      'does not wait in stop()',
      'stop() waits for the jobs that run',
      /stop\(\) should not return while a job runs/,
      () => ({ work: async () => ({ stop: async () => undefined }) }),
    ],
    [
      'does not wait in idle()',
      'idle() waits for what is left to do, also for what is to be tried later',
      /how many of 5 jobs were done when idle\(\) returned: expected 5, found 0/,
      () => ({ idle: async () => undefined }),
    ],
    [
      'does not wait in close()',
      'close() waits for the jobs that run',
      /close\(\) should not return while a job runs/,
      () => ({ close: async () => undefined }),
    ],
    ['never closes', 'closes when it never did anything', /close\(\) should return within/, () => ({ close: () => new Promise(() => undefined) })],
    [
      'waits in close() for what is to be tried later',
      'close() does not wait for a job whose time has not come',
      /close\(\) should return though a job waits for an hour within/,
      (sound) => ({ close: () => sound.idle?.() ?? Promise.resolve() }),
    ],
    [
      'says that jobs outlive it, and forgets them',
      'keeps jobs while nobody works, for another adapter at the same place',
      /3 jobs should be kept for another adapter, but 0 came/,
      () => ({}),
    ],
  ])('%s', async (_, name, message, broken) => {
    const made: BackgroundAdapter[] = []
    const make = async () => {
      const sound = inProcessBackground()
      made.push(sound)
      return { ...sound, ...broken(sound) }
    }
    onTestFinished(() => void Promise.all(made.map((adapter) => adapter.close?.())))
    const claims = { keepsJobs: true, queues: true, keys: true, priorities: true }
    await expect(run(backgroundContract(make, { ...claims, arrivesWithin: 700 }), name)).rejects.toEqual(complaint(message))
  })

  it('goes on working when it was stopped', async () => {
    const { sound } = await table()
    const work: typeof sound.work = async (perform, options) => {
      const worker = await sound.work(perform, options)
      return { stop: () => worker.stop().then(() => void sound.work(perform, options)) }
    }
    const name = 'takes no more jobs when it was stopped, and leaves them to the next worker'
    const running = run(
      backgroundContract(async () => ({ ...sound, work })),
      name,
    )
    await expect(running).rejects.toEqual(complaint(/how many jobs a worker took after stop\(\) had returned: expected 0, found \d+/))
  })

  it.each([
    [
      'forgets what it hands out',
      'loses no job when a process is killed while it performs a job',
      /every job should be performed by another, but 3 of 8 were not/,
    ],
    ['enqueues later', 'loses no job when the process that enqueued it is killed', /every job should be performed by another, but 3 of 3 were not/],
  ])(
    '%s',
    async (flaw, name, message) => {
      const { sound, connectionString } = await table()
      Object.assign(process.env, { CONTRACT_DATABASE: connectionString, CONTRACT_FLAW: flaw })
      const options = { ...elsewhere('broken-table'), keepsJobs: true, comesBackWithin: 2_000 }
      const cases = backgroundContract(async () => sound, options)
      await expect(run(cases, name)).rejects.toEqual(complaint(message))
    },
    timeout,
  )

  async function table() {
    const connectionString = await newDatabase()
    const pool = new pg.Pool({ connectionString })
    const sound = tableBackground({ pool })
    onTestFinished(async () => {
      await sound.close?.()
      await pool.end()
    })
    return { sound, connectionString }
  }
})

it(
  'the contracts say what is wrong with the module of another process',
  async () => {
    const make = async () => memoryStorage()
    const name = 'leaves no part when a process is killed half-way through a body'
    const missing = join(__dirname, 'nowhere.cjs')
    await expect(run(storageContract(make, { module: missing, execArgv: ['--import', 'tsx'] }), name)).rejects.toEqual(
      complaint(/Cannot find module .*nowhere.cjs/),
    )
    const other = { module: elsewhere('table').module, execArgv: ['--import', 'tsx'] }
    await expect(run(storageContract(make, other), name)).rejects.toEqual(
      complaint(/table.ts exports no function: export an async one as default or as makeStorage/),
    )
  },
  timeout,
)
