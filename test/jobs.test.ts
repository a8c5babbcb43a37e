import 'reflect-metadata'
import { gzipSync } from 'node:zlib'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  type Attached,
  Attachment,
  AttachmentError,
  type BackgroundAdapter,
  type DeleteJob,
  type Job,
  type Perform,
  type ProcessJob,
  TryLater,
} from '../src'
import { scribe, watched } from './support/doubles'
import { filesIn, world } from './support/world'

const pen = scribe()

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processors: [pen] })
  avatar!: Attached<'a'>
}

/** One file that is done, one that is being processed, one that was removed and is to be deleted; and what an adapter is given. */
async function start() {
  const jobs: Job[] = []
  const given: Partial<Record<'start' | 'work', Perform>> = {}
  const background: BackgroundAdapter = {
    start: (perform) => void Object.assign(given, { start: perform }),
    work: async (perform) => {
      Object.assign(given, { work: perform })
      return { stop: async () => undefined }
    },
    enqueue: async (job) => void jobs.push(job),
  }
  const storage = watched()
  const here = await world([User], { background, storage })
  await here.attachments.work()
  const { start, work } = given as Record<'start' | 'work', Perform>
  const users = [new User(), new User(), new User()] as const
  for (const user of users) await here.attachments.attach(user, 'avatar', Buffer.from('text'))
  await here.dataSource.manager.save([...users])
  const [done, processing, removed] = users
  const processJob = jobs[1] as ProcessJob
  await start(jobs[0] as Job, 1)
  await start(jobs[2] as Job, 1)
  const live = (await here.dataSource.manager.findOneByOrFail(User, { id: done.id })).avatar
  await here.dataSource.manager.remove(removed)
  const state = async () => ({
    rows: await here.dataSource.query('SELECT * FROM "user" ORDER BY id'),
    objects: [...storage.objects].map(([key, { body }]) => `${key} ${body}`).sort(),
    staged: await filesIn(here.staging),
  })
  return {
    ...here,
    storage,
    processing,
    performs: [start, work],
    processJob,
    deleteJob: jobs[3] as DeleteJob,
    /** What a bad job must not reach. */
    live: { version: live.version as string, keys: [live.path(), live.path('a')] as string[], staged: processJob.staged },
    state,
  }
}
type Start = Awaited<ReturnType<typeof start>>
type Live = Start['live']

const without = (job: object, name: string) => Object.fromEntries(Object.entries(job).filter(([other]) => other !== name))

const noJobs: Array<[string, unknown, RegExp]> = [
  ['nothing', undefined, /names no entity/],
  ['null', null, /names no entity.*null/],
  ['a text', 'process', /names no entity.*"process"/],
  ['a number', 7, /names no entity.*7/],
  ['a list', [], /names no entity.*\[\]/],
  ['an empty object', {}, /names no entity.*\{\}/],
  ['a broken package', { kind: 'delete', entity: 'User', attachment: 'avatar', gzip: '?' }, /packed, and broken/],
]

/** Jobs of a row, with the keys of a live file, and something wrong about each. */
const badProcessJobs: Array<[string, (job: ProcessJob, live: Live) => unknown, RegExp]> = [
  ['no kind', (job) => without(job, 'kind'), /kind is undefined/],
  ['another kind', (job) => ({ ...job, kind: 'rename' }), /kind is "rename"/],
  ['no entity', (job) => without(job, 'entity'), /names no entity/],
  ['a number for an entity', (job) => ({ ...job, entity: 7 }), /names no entity/],
  ['no attachment', (job) => without(job, 'attachment'), /names no entity and attachment/],
  ['an entity that is not there', (job) => ({ ...job, entity: 'Nobody' }), /no attachment Nobody\.avatar/],
  ['an attachment that is not there', (job) => ({ ...job, attachment: 'photo' }), /no attachment User\.photo.*User\.avatar/],
  ['no version', (job) => without(job, 'version'), /version, storage, keys/],
  ['a number for a version', (job) => ({ ...job, version: 7 }), /version, storage, keys/],
  ['no storage', (job) => without(job, 'storage'), /version, storage, keys/],
  ['a storage that is not there', (job) => ({ ...job, version: '0'.repeat(32), storage: 'attic', keys: ['x'] }), /no storage 'attic'.*default/],
  ['no keys', (job) => without(job, 'keys'), /version, storage, keys/],
  ['a text for keys', (job, { keys }) => ({ ...job, keys: keys[0] }), /version, storage, keys/],
  ['keys that are no texts', (job, { keys }) => ({ ...job, keys: [...keys, 7] }), /version, storage, keys/],
  ['an empty key', (job, { keys }) => ({ ...job, keys: [...keys, ''] }), /version, storage, keys/],
  ['no staged keys', (job) => without(job, 'staged'), /version, storage, keys/],
  ['no id', (job) => without(job, 'id'), /names no row/],
  ['null for an id', (job) => ({ ...job, id: null }), /names no row/],
  ['a number for an id', (job) => ({ ...job, id: 1 }), /names no row/],
  ['a list for an id', (job) => ({ ...job, id: [1] }), /names no row/],
  ['an empty id', (job) => ({ ...job, id: {} }), /names no row/],
  ['an id of null', (job, { keys }) => ({ ...job, keys, id: { id: null } }), /names no row/],
  ['an id of another shape', (job, { keys }) => ({ ...job, keys, id: { uuid: 'x' } }), /id.*uuid/],
  ['an id with too much', (job, { keys }) => ({ ...job, keys, id: { ...job.id, lang: 'en' } }), /id.*lang/],
]

const badDeleteJobs: Array<[string, (job: DeleteJob, live: Live) => unknown, RegExp]> = [
  [
    'the shape of an earlier release',
    ({ entity, attachment, rows: [row] }, live) => ({ kind: 'delete', entity, attachment, id: row?.id, files: [{ ...live, storage: 'default' }] }),
    /rows and their files/,
  ],
  ['no rows', (job) => without(job, 'rows'), /rows and their files/],
  ['null for a row', (job) => ({ ...job, rows: [null] }), /rows and their files/],
  ['no files', ({ rows: [row], ...job }) => ({ ...job, rows: [{ id: row?.id }] }), /rows and their files/],
  ['a row without an id', (job, live) => ({ ...job, rows: [...job.rows, { files: [{ ...live, storage: 'default' }] }] }), /rows and their files/],
  [
    'a row with an id of null',
    (job, live) => ({ ...job, rows: [{ id: { id: null }, files: [{ ...live, storage: 'default' }] }] }),
    /rows and their files/,
  ],
  [
    'a row with an id of another shape',
    (job, live) => ({ ...job, rows: [{ id: { uuid: 'x' }, files: [{ ...live, storage: 'default' }] }] }),
    /id.*uuid/,
  ],
  [
    'keys that are no texts',
    (job, live) => ({ ...job, rows: [{ id: { id: 1 }, files: [{ ...live, storage: 'default', keys: [7] }] }] }),
    /rows and their files/,
  ],
  [
    'a storage that is not there',
    (job, live) => ({ ...job, rows: [{ id: { id: 99 }, files: [{ ...live, storage: 'attic', keys: ['x'] }] }] }),
    /no storage 'attic'/,
  ],
  ['an entity that is not there', (job) => ({ ...job, entity: 'Nobody' }), /no attachment Nobody\.avatar/],
  ['an attachment that is not there', (job) => ({ ...job, attachment: 'photo' }), /no attachment User\.photo/],
  ['no note', (job) => without(job, 'note'), /its note/],
  ['a staged file for a note', (job, live) => ({ ...job, note: live.staged[0] }), /its note/],
  ['no moment', (job) => without(job, 'at'), /when it was decided/],
  ['no such moment', (job) => ({ ...job, at: 'yesterday' }), /when it was decided/],
]

async function refuses({ performs, state }: Pick<Start, 'performs' | 'state'>, bad: unknown, why: RegExp) {
  const before = await state()
  for (const perform of performs) {
    const outcome = await perform(bad as Job, 1).then(
      () => 'done',
      (error) => error,
    )
    expect(outcome).toBeInstanceOf(AttachmentError)
    expect(outcome).not.toBeInstanceOf(TryLater)
    expect(outcome.message).toMatch(why)
  }
  expect(await state()).toEqual(before)
}

beforeEach(() => pen.reset())

describe('a queue that brings', () => {
  it.each(noJobs)('%s for a job is told so, and nothing is done', async (_what, bad, why) => {
    await refuses(await start(), bad, why)
  })

  it.each(badProcessJobs)('a job with %s is told so, and nothing is done', async (_what, make, why) => {
    const here = await start()
    await refuses(here, make(here.processJob, here.live), why)
  })

  it.each(badDeleteJobs)('a delete job with %s is told so, and nothing is done', async (_what, make, why) => {
    const here = await start()
    await refuses(here, make(here.deleteJob, here.live), why)
  })

  it('what it was given does it', async () => {
    const { performs, processJob, deleteJob, storage, staging, live, dataSource, processing } = await start()
    // as SQS carries one that is large
    const { kind, entity, attachment } = deleteJob
    const packed = { kind, entity, attachment, gzip: gzipSync(JSON.stringify(deleteJob)).toString('base64') }
    for (const job of [processJob, packed]) await performs[1]?.(JSON.parse(JSON.stringify(job)), 1)
    expect((await dataSource.manager.findOneByOrFail(User, { id: processing.id })).avatar).toMatchObject({ processing: false, error: null })
    expect([...storage.objects.keys()].sort()).toEqual([...live.keys, ...processJob.keys].sort())
    expect(await filesIn(staging)).toEqual([])
  })
})
