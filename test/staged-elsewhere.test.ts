import 'reflect-metadata'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cp, rm, symlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DataSource, type DataSourceOptions, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, type BackgroundAdapter, diskStorage, inlineBackground, memoryStorage, NotHere } from '../src'
import { type Machine, type OpenMachine, openMachine } from './reliability/machine'
import { Person, person } from './reliability/person'
import type { Place } from './reliability/place'
import { programOf } from './reliability/program'
import { openSlot, type Slot } from './reliability/slot'
import { jpeg } from './support/pictures'
import { database, filesIn, folder, heldBackground, world } from './support/world'

const photo = jpeg(200, 100)
const never = 600_000

describe('web and worker in two processes', { timeout: 60_000 }, () => {
  let slot: Slot
  let program: string
  beforeAll(async () => {
    ;[slot, program] = await Promise.all([openSlot({ postgres: inject('postgres'), s3: inject('s3') }), programOf('machine-worker')])
  })
  afterAll(() => slot?.close())

  /** This process is the web server. What it stages where, and a picture that it has saved. */
  async function web(staging: Machine['staging']) {
    const place = await slot.freshPlace()
    onTestFinished(() => rm(place.staging, { recursive: true, force: true }))
    const machine = await openMachine({ place, staging, elsewhere: never })
    onTestFinished(() => machine.close())
    const ada = person('Ada')
    await machine.attachments.attach(ada, 'avatar', await photo)
    await machine.dataSource.manager.save(ada)
    return { place, machine, ada, avatar: () => avatarOf(machine, ada) }
  }

  const avatarOf = async ({ dataSource }: OpenMachine, { id }: Person) => (await dataSource.manager.findOneByOrFail(Person, { id })).avatar

  /** Another process, which works until it is stopped. What it warns of. */
  async function worker(place: Place, staging: Machine['staging'], elsewhere = never) {
    const child = fork(program, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    const warnings: string[] = []
    const working = new Promise<void>((resolve) => {
      child.on('message', (said) => (said === 'working' ? resolve() : warnings.push((said as { warning: string }).warning)))
    })
    const ended = once(child, 'close')
    onTestFinished(() => void child.kill('SIGKILL'))
    child.send({ place, staging, elsewhere } satisfies Machine)
    await Promise.race([working, ended.then(() => Promise.reject(new Error('the worker ended')))])
    const stop = async () => {
      child.send('stop')
      await ended
    }
    return { warnings, stop }
  }

  const jobs = ({ dataSource }: OpenMachine) => dataSource.query('SELECT attempt FROM jobs')

  it('with separate folders: the job waits for another worker, and after the deadline the file fails and says why', async () => {
    const [here, there] = [await folder(), await folder()]
    const { place, machine, ada, avatar } = await web({ root: here })
    const message = `Person.avatar is staged on host ${hostname()} in ${here}, this is host ${hostname()}: share the folder or stage in S3 (what this host sees is ${there})`
    const wrong = await worker(place, { root: there }, 1_500)
    await expect.poll(async () => (await avatar()).meta?.elsewhere).toBeTruthy()
    await expect.poll(async () => (await avatar()).processing, { timeout: 20_000 }).toBe(false)
    expect((await avatar()).error).toMatchObject({ code: 'staged_elsewhere', message, attempts: 1 })
    await wrong.stop()
    expect(wrong.warnings).toEqual([`${message}. Its job waits for a worker that sees it, for 1.5 s at most`])
    expect(await filesIn(here)).toContainEqual(expect.stringMatching(/original$/))
    expect(await jobs(machine)).toEqual([])

    const right = await worker(place, { root: here })
    expect(await machine.attachments.retry(ada, 'avatar')).toBe(true)
    await expect.poll(async () => (await avatar()).processing, { timeout: 20_000 }).toBe(false)
    expect(await avatar()).toMatchObject({ error: null, meta: expect.not.objectContaining({ elsewhere: expect.anything() }) })
    await right.stop()
  })

  it('with separate folders: the worker that sees the file gets its job, and no attempt is lost', async () => {
    const [here, there] = [await folder(), await folder()]
    const { place, machine, avatar } = await web({ root: here })
    const wrong = await worker(place, { root: there })
    await expect.poll(async () => (await avatar()).meta?.elsewhere).toBeTruthy()
    await expect.poll(() => jobs(machine)).toEqual([{ attempt: 1 }])
    const { processing, attemptedAt, meta } = await avatar()
    expect([processing, meta?.begun]).toEqual([true, undefined])
    // when it is due again: until then nobody calls it lost
    expect(Number(attemptedAt)).toBeGreaterThanOrEqual(Date.parse(meta?.elsewhere?.since as string) + 500)
    const right = await worker(place, { root: here })
    await expect.poll(async () => (await avatar()).processing, { timeout: 40_000 }).toBe(false)
    expect(await avatar()).toMatchObject({ error: null })
    expect((await avatar()).meta).not.toHaveProperty('elsewhere')
    await expect.poll(() => filesIn(here)).toEqual([])
    await Promise.all([wrong.stop(), right.stop()])
  })

  it('with one folder, whatever path leads to it: the job is done', async () => {
    const here = await folder()
    const { place, avatar } = await web({ root: here })
    const mounted = join(await folder(), 'mounted')
    await symlink(here, mounted)
    const { warnings, stop } = await worker(place, { root: mounted })
    await expect.poll(async () => (await avatar()).processing, { timeout: 20_000 }).toBe(false)
    expect(await avatar()).toMatchObject({ error: null })
    await expect.poll(() => filesIn(here)).toEqual([])
    await stop()
    expect(warnings).toEqual([])
  })

  it('with a staging in S3: the job is done', async () => {
    const { place, machine, avatar } = await web({ prefix: 'staging/' })
    const { warnings, stop } = await worker(place, { prefix: 'staging/' })
    await expect.poll(async () => (await avatar()).processing, { timeout: 20_000 }).toBe(false)
    expect(await avatar()).toMatchObject({ error: null })
    await stop()
    const left = []
    for await (const { key } of machine.staging.list?.('') ?? []) left.push(key)
    expect(left).toEqual([])
    expect(warnings).toEqual([])
  })
})

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'>
}

/** Two programs on one database and one storage, each with a queue and a staging of its own. */
async function twoMachines({ inline = false, shared = false } = {}) {
  const first = await database([User])
  const second = await new DataSource({ ...first.options, synchronize: false } as DataSourceOptions).initialize()
  onTestFinished(() => second.destroy())
  const storage = memoryStorage()
  const weather = { down: false }
  const failing = {
    ...storage,
    write: async (...all: Parameters<typeof storage.write>) => (weather.down ? Promise.reject(new Error('down')) : storage.write(...all)),
  }
  const machine = async (dataSource: DataSource) => {
    const [root, held] = [await folder(), heldBackground()]
    const work: BackgroundAdapter['work'] = async (perform) => {
      held.start?.(perform)
      return { stop: async () => undefined }
    }
    const background = shared ? { ...held, start: undefined, work } : held
    const options = { dataSource, storage: failing, staging: diskStorage({ root }), retry: { attempts: 1 } }
    return { ...(await world([User], { ...options, background: inline ? inlineBackground() : background })), background, root }
  }
  const [here, there] = [await machine(first), await machine(second)]
  const user = new User()
  await here.attachments.attach(user, 'avatar', await photo)
  await first.manager.save(user)
  const avatar = async () => (await first.manager.findOneByOrFail(User, { id: user.id })).avatar
  return { here, there, user, avatar, storage, weather }
}

describe('web and worker with separate folders', () => {
  it('and a queue in each process: what cannot be done is handed back, and found by the process that can', async () => {
    const { here, there, avatar } = await twoMachines()
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => warned.mockRestore())
    here.background.jobs.length = 0
    for (let time = 0; time < 3; time++) {
      expect(await there.attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
      await there.background.run()
      expect(await avatar()).toMatchObject({ processing: true, error: null, attemptedAt: new Date(0), meta: { elsewhere: { times: time + 1 } } })
    }
    expect(warned).toHaveBeenCalledOnce()
    expect(await here.attachments.requeueLost()).toBe(1)
    await here.background.run()
    expect(await avatar()).toMatchObject({ processing: false, error: null })
    expect((await avatar()).meta).not.toHaveProperty('area')
  })

  it.each([
    ['a long wait in a queue, in which it was offered seldom, is none', 60 * 60_000, 3, true],
    ['and for how long it was offered again and again is one', 60 * 60_000, 30, false],
    ['and how often it was offered within a short time is none', 1_000, 30, true],
  ])('and a queue for both: %s', async (_, ago, times, processing) => {
    const { here, there, avatar } = await twoMachines({ shared: true })
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => warned.mockRestore())
    const { meta } = await avatar()
    const elsewhere = { since: new Date(Date.now() - ago), times }
    await here.dataSource.query('UPDATE "user" SET avatar_meta = $1', [JSON.stringify({ ...meta, elsewhere })])
    there.background.jobs.push(...here.background.jobs)
    await there.attachments.work()
    await there.background.run().catch((error) => expect(error).toBeInstanceOf(NotHere))
    expect((await avatar()).processing).toBe(processing)
    expect((await avatar()).error?.code).toBe(processing ? undefined : 'staged_elsewhere')
  })

  it('and no queue at all: a retry on the wrong machine leaves the job to the right one', async () => {
    const { here, there, user, avatar, weather } = await twoMachines({ inline: true })
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => warned.mockRestore())
    weather.down = true
    await here.attachments.attach(user, 'avatar', await photo)
    await here.dataSource.manager.save(user)
    expect((await avatar()).error).toMatchObject({ message: 'down' })
    weather.down = false
    const same = await there.dataSource.manager.findOneByOrFail(User, { id: user.id })
    expect(await there.attachments.retry(same, 'avatar')).toBe(true)
    expect(same.avatar).toMatchObject({ processing: true, error: null })
    expect(await here.attachments.requeueLost()).toBe(1)
    expect(await avatar()).toMatchObject({ processing: false, error: null })
  })

  it('the job is done all the same where the file is there: a folder that was restored has lost its mark', async () => {
    const { here, there, avatar } = await twoMachines()
    here.background.jobs.length = 0
    await cp(here.root, there.root, { recursive: true, filter: (path) => !path.endsWith('.area') })
    await there.attachments.requeueLost({ olderThan: -1_000 })
    await there.background.run()
    expect(await avatar()).toMatchObject({ processing: false, error: null })
  })

  it('what is wrong with one folder for all is no matter of machines', async () => {
    const { here, avatar } = await twoMachines()
    await rm(join(here.root, 'User'), { recursive: true })
    await here.background.run()
    expect((await avatar()).error).toMatchObject({ code: 'object_missing' })
  })

  it('a delete on the wrong machine deletes what it sees, and its note brings it to the right one', async () => {
    const { here, there, user, weather, storage } = await twoMachines()
    weather.down = true
    await here.background.run()
    weather.down = false
    await here.dataSource.manager.remove(await here.dataSource.manager.findOneByOrFail(User, { id: user.id }))
    there.background.jobs.push(...here.background.jobs.splice(0))
    await there.background.run()
    expect(await filesIn(here.root)).toEqual(
      expect.arrayContaining([expect.stringMatching(/original$/), expect.stringMatching(/^\.deletes\/.*json$/)]),
    )
    expect(await here.attachments.requeueLost({ olderThan: -1_000 })).toBe(1)
    await here.background.run()
    expect(await filesIn(here.root)).toEqual([])
    expect(await filesIn(there.root)).toEqual([])
    expect(storage.objects.size).toBe(0)
  })
})
