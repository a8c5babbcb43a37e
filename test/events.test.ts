import 'reflect-metadata'
import { type DataSourceOptions, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, it, vi } from 'vitest'
import { type Attached, Attachment, type Attachments, memoryNotifier, type Signal, type State } from '../src'
import { jpeg } from './support/pictures'
import { warnings } from './support/warnings'
import { database, heldBackground, type World, type WorldOptions, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn() id!: number

  @Attachment({ styles: { large: '80x80>', thumb: '20x20#' }, accept: ['image/*', 'text/plain'] })
  avatar!: Attached<'large' | 'thumb'>
}

const states: readonly State[] = ['attached', 'processing', 'progress', 'processed', 'failed', 'removed']

/** All that is told, in its order. */
function heard(attachments: Attachments): Signal[] {
  const signals: Signal[] = []
  for (const state of states) attachments.events.on(state, (signal) => signals.push(signal))
  return signals
}

/** A user with a picture, saved, and its job held back until `run()`. */
async function waiting(options: WorldOptions = {}): Promise<World & { user: User; run(): Promise<void> }> {
  const background = heldBackground()
  const made = await world([User], { background, ...options })
  const user = new User()
  await made.attachments.attach(user, 'avatar', await jpeg(100, 100))
  await made.dataSource.manager.save(user)
  return { ...made, user, run: () => background.run() }
}

/** A storage that takes nothing, until it is mended. */
function broken({ storage }: World): () => void {
  const write = vi.spyOn(storage, 'write').mockRejectedValue(new Error('the disk is full'))
  return () => write.mockRestore()
}

it('a file is attached, processed step by step, and removed, and each is told after its commit', async () => {
  const { attachments, dataSource } = await world([User])
  const signals = heard(attachments)
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg(100, 100))
  expect(signals).toEqual([])
  await dataSource.manager.transaction(async (manager) => {
    await manager.save(user)
    expect(signals).toEqual([])
  })
  await attachments.idle()
  const { version } = user.avatar
  const of = { entity: 'User', id: { id: user.id }, attachment: 'avatar', version }
  expect(signals).toEqual([
    { ...of, state: 'attached' },
    { ...of, state: 'processing' },
    ...[1, 2, 3].map((done) => ({ ...of, state: 'progress', progress: { done, of: 3 } })),
    { ...of, state: 'processed' },
  ])
  signals.length = 0
  await dataSource.manager.remove(user)
  expect(signals).toEqual([{ ...of, state: 'removed' }])
})

it('what is replaced or detached is told to be removed', async () => {
  const { attachments, dataSource, user, run } = await waiting()
  await run()
  const signals = heard(attachments)
  const { version: first } = user.avatar
  await attachments.attach(user, 'avatar', await jpeg(50, 50))
  await dataSource.manager.save(user)
  const { version: second } = user.avatar
  expect(signals).toMatchObject([
    { version: first, state: 'removed' },
    { version: second, state: 'attached' },
  ])
  await attachments.detach(user, 'avatar')
  await dataSource.manager.save(user)
  expect(signals.at(-1)).toMatchObject({ version: second, state: 'removed' })
})

it('what was rolled back is told to nobody', async () => {
  const { attachments, dataSource } = await world([User])
  const signals = heard(attachments)
  const undone = dataSource.transaction(async (manager) => {
    const user = new User()
    await attachments.attach(user, 'avatar', await jpeg())
    await manager.save(user)
    throw new Error('undone')
  })
  await expect(undone).rejects.toThrow('undone')
  expect(signals).toEqual([])
})

it('a failure is told, and a retry, and styles that are made anew', async () => {
  const world = await waiting({ retry: { attempts: 1 } })
  const { attachments, user, run } = world
  const signals = heard(attachments)
  const mend = broken(world)
  await run()
  expect(signals.map(({ state }) => state)).toEqual(['processing', 'failed'])
  mend()
  signals.length = 0
  await attachments.retry(user, 'avatar')
  await run()
  expect(signals.map(({ state }) => state)).toEqual(['processing', 'processing', 'progress', 'progress', 'progress', 'processed'])
  signals.length = 0
  await attachments.reprocess(user, 'avatar', ['thumb'])
  await run()
  expect(signals.map(({ state, progress }) => [state, progress?.done])).toEqual([
    ['processing', undefined],
    // the version before
    ['removed', undefined],
    ['processing', undefined],
    ['progress', 3],
    ['processed', undefined],
  ])
})

it.each([
  ['throws', () => out()],
  ['rejects', async () => out()],
])('a listener that %s stops nothing, and is a warning', async (_, listener) => {
  const { attachments, user, run, dataSource } = await waiting()
  const warned = warnings()
  attachments.events.on('processed', listener)
  const others = heard(attachments)
  const once = vi.fn()
  attachments.events.once('progress', once)
  await run()
  expect((await dataSource.manager.findOneByOrFail(User, { id: user.id })).avatar.processing).toBe(false)
  await vi.waitFor(() => expect(warned).toContainEqual(expect.stringContaining("attachments.events for 'processed' threw: out of order")))
  expect(others.at(-1)).toMatchObject({ state: 'processed' })
  expect(once).toHaveBeenCalledTimes(1)
})

function out(): never {
  throw new Error('out of order')
}

it('listeners stay when the attachments are closed and connected again', async () => {
  const { attachments, dataSource } = await world([User])
  const signals = heard(attachments)
  await attachments.close()
  await attachments.connect(dataSource)
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg())
  await dataSource.manager.save(user)
  await attachments.idle()
  expect(signals.at(-1)).toMatchObject({ version: user.avatar.version, state: 'processed' })
})

it('ready() resolves when the style is there, to the value, which shows it', async () => {
  const { user, run } = await waiting()
  const ready = user.avatar.ready('thumb')
  await run()
  expect(await ready).toBe(user.avatar)
  expect(user.avatar.url('thumb')).toMatch(/^https:\/\/files\.test\/.*thumb/)
  expect(user.avatar.processing).toBe(false)
})

it('ready() of what is there resolves at once, also on an entity that is older than its row', async () => {
  const { user, run } = await waiting()
  await run()
  expect(user.avatar.processing).toBe(true)
  expect((await user.avatar.ready()).processing).toBe(false)
  await user.avatar.ready('large')
})

it('ready() rejects as the job failed', async () => {
  const world = await waiting({ retry: { attempts: 1 } })
  broken(world)
  const ready = expect(world.user.avatar.ready('thumb')).rejects.toMatchObject({
    name: 'ProcessingError',
    message: expect.stringContaining('the disk is full'),
  })
  await world.run()
  await ready
})

it('ready() rejects when its file is replaced, detached or deleted', async () => {
  for (const end of ['replace', 'detach', 'delete'] as const) {
    const { attachments, dataSource, user } = await waiting()
    const ready = expect(user.avatar.ready('thumb')).rejects.toMatchObject({ name: 'UsageError', code: 'file_gone' })
    const same = await dataSource.manager.findOneByOrFail(User, { id: user.id })
    if (end === 'replace') await attachments.attach(same, 'avatar', await jpeg())
    if (end === 'detach') await attachments.detach(same, 'avatar')
    if (end === 'delete') await dataSource.manager.remove(same)
    else await dataSource.manager.save(same)
    await ready
  }
})

it('ready() gives up after its timeout, and when its signal says so, and leaves nothing behind', async () => {
  const { user } = await waiting()
  await expect(user.avatar.ready('thumb', { timeout: 20 })).rejects.toMatchObject({ code: 'not_ready', message: expect.stringContaining('20 ms') })
  const visitor = new AbortController()
  const ready = user.avatar.ready('thumb', { signal: visitor.signal })
  const reason = new Error('the visitor left')
  visitor.abort(reason)
  await expect(ready).rejects.toBe(reason)
  await expect(user.avatar.ready('thumb', { signal: visitor.signal })).rejects.toBe(reason)
})

it('ready() rejects with close(), unless its style is there by then', async () => {
  const { attachments, dataSource, user, run } = await waiting({ notifier: memoryNotifier() })
  const other = new User()
  await attachments.attach(other, 'avatar', await jpeg())
  const made = user.avatar.ready('thumb')
  await run()
  await dataSource.manager.save(other)
  const late = expect(other.avatar.ready('thumb')).rejects.toMatchObject({ name: 'UsageError', code: 'not_connected' })
  await attachments.close()
  await late
  expect((await made).processing).toBe(false)
})

it('ready() gives up also while it waits for the connection of whoever waits', async () => {
  const dataSource = await database([User], { poolSize: 1 } as Partial<DataSourceOptions>)
  const { attachments } = await world([User], { dataSource, background: heldBackground() })
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg())
  await dataSource.manager.save(user)
  const waiting = dataSource.transaction(() => user.avatar.ready('thumb', { timeout: 50 }))
  await expect(waiting).rejects.toMatchObject({ code: 'not_ready', message: expect.stringContaining('50 ms') })
})

it('ready() waits as long as it is told, and takes no time that is none', async () => {
  const { user, run } = await waiting()
  for (const timeout of [Number.NaN, -1, 'soon' as never]) {
    await expect(user.avatar.ready('thumb', { timeout })).rejects.toMatchObject({ code: 'bad_timeout' })
  }
  const patient = [2 ** 31, Number.POSITIVE_INFINITY].map((timeout) => user.avatar.ready('thumb', { timeout }))
  await expect(user.avatar.ready('thumb', { timeout: 20 })).rejects.toMatchObject({ code: 'not_ready' })
  await run()
  await Promise.all(patient)
})

it('ready() is refused where there is nothing to wait for', async () => {
  const { attachments, dataSource } = await world([User])
  const user = await dataSource.manager.save(new User())
  await expect(user.avatar.ready('thumb')).rejects.toMatchObject({ code: 'not_ready', message: expect.stringContaining('has no file') })
  await attachments.attach(user, 'avatar', Buffer.from('a text'), { fileName: 'a.txt' })
  await expect(user.avatar.ready('thumb')).rejects.toMatchObject({ code: 'file_gone', message: expect.stringContaining('not saved') })
  await dataSource.manager.save(user)
  await user.avatar.ready()
  await expect(user.avatar.ready('thumb')).rejects.toMatchObject({ code: 'not_ready', message: expect.stringContaining("no style 'thumb'") })
  // @ts-expect-error no style of that name is declared
  await expect(user.avatar.ready('poster')).rejects.toMatchObject({ code: 'unknown_style' })
})
