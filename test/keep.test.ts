import 'reflect-metadata'
import { DeleteDateColumn, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, it } from 'vitest'
import { type Attached, Attachment } from '../src'
import { scribe, watched } from './support/doubles'
import { filesIn, heldBackground, world } from './support/world'

const pen = scribe()
const shared = { styles: { a: '1x1' }, accept: 'any', processors: [pen] } as const

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @DeleteDateColumn()
  deletedAt!: Date | null

  @Attachment(shared)
  plain!: Attached<'a'>

  @Attachment({ ...shared, keepOldFiles: true })
  keepOldFiles!: Attached<'a'>

  @Attachment({ ...shared, preserveFiles: true })
  preserveFiles!: Attached<'a'>
}

type Property = 'plain' | 'keepOldFiles' | 'preserveFiles'

/** A file called `old`, done, or still being processed. */
async function start(property: Property, state: 'done' | 'processing') {
  const background = heldBackground()
  const storage = watched()
  const here = await world([User], { background, storage })
  const users = here.dataSource.getRepository(User)
  const user = new User()
  const attach = async (fileName: string) => {
    await here.attachments.attach(user, property, Buffer.from(fileName), { fileName: `${fileName}.txt` })
    await users.save(user)
  }
  await attach('old')
  if (state === 'done') await background.run()
  return { ...here, background, storage, users, user, attach }
}
type Start = Awaited<ReturnType<typeof start>>

const ends = {
  replaced: ({ attach }: Start) => attach('new'),
  detached: async ({ attachments, users, user }: Start, property: Property) => {
    await attachments.detach(user, property)
    await users.save(user)
  },
  removed: ({ users, user }: Start) => users.remove(user),
  'replaced and then removed': async ({ attach, background, users, user }: Start) => {
    await attach('new')
    await background.run()
    await users.remove(user)
  },
}
type End = keyof typeof ends

const cases: Array<[Property, End, string[]]> = [
  ['plain', 'replaced', ['new']],
  ['plain', 'detached', []],
  ['plain', 'removed', []],
  ['plain', 'replaced and then removed', []],
  ['keepOldFiles', 'replaced', ['old', 'new']],
  ['keepOldFiles', 'detached', ['old']],
  ['keepOldFiles', 'removed', []],
  ['keepOldFiles', 'replaced and then removed', ['old']],
  ['preserveFiles', 'replaced', ['old', 'new']],
  ['preserveFiles', 'detached', ['old']],
  ['preserveFiles', 'removed', ['old']],
  ['preserveFiles', 'replaced and then removed', ['old', 'new']],
]

it.each(cases)('%s: of a file that is %s, the storage keeps %s, and the staging nothing', async (property, end, expected) => {
  const here = await start(property, 'done')
  await ends[end](here, property)
  await here.background.run()
  const kept = [...here.storage.objects.keys()].map((key) => key.split('/').slice(-2).join('/'))
  expect(kept.sort()).toEqual(expected.flatMap((name) => [`a/${name}.txt`, `original/${name}.txt`]).sort())
  expect(await filesIn(here.staging)).toEqual([])
})

it.each(cases.filter(([, end]) => !end.includes('then')))(
  '%s: of a file that is %s while it waits to be processed, the staging keeps nothing',
  async (property, end) => {
    const here = await start(property, 'processing')
    const late = here.background.jobs.splice(0)
    await ends[end](here, property)
    await here.background.run()
    here.background.jobs.push(...late)
    await here.background.run()
    expect([...here.storage.objects.keys()].filter((key) => key.endsWith('/old.txt'))).toEqual([])
    expect((await filesIn(here.staging)).filter((file) => !file.startsWith('.deletes'))).toEqual([])
  },
)

it.each(cases.filter(([, , expected]) => expected.includes('old')))(
  '%s: of a file that is %s, a late twin of its job deletes nothing',
  async (property, end) => {
    const here = await start(property, 'processing')
    const twin = [...here.background.jobs]
    await here.background.run()
    await ends[end](here, property)
    await here.background.run()
    const kept = [...here.storage.objects.keys()]
    here.background.jobs.push(...twin)
    await here.background.run()
    expect([...here.storage.objects.keys()]).toEqual(kept)
    expect(kept.filter((key) => key.endsWith('/old.txt'))).toHaveLength(2)
  },
)

it.each(['plain', 'keepOldFiles', 'preserveFiles'] as const)('%s: softRemove() and recover() leave the file as it is', async (property) => {
  const { background, users, user, storage, staging } = await start(property, 'done')
  const keys = [...storage.objects.keys()]
  await users.softRemove(user)
  expect(background.jobs).toEqual([])
  expect((await users.findOneOrFail({ where: { id: user.id }, withDeleted: true }))[property]).toMatchObject({ present: true, processing: false })
  await users.recover(user)
  expect(background.jobs).toEqual([])
  expect((await users.findOneByOrFail({ id: user.id }))[property]).toMatchObject({ present: true, processing: false })
  expect([...storage.objects.keys()]).toEqual(keys)
  expect(await filesIn(staging)).toEqual([])
})

it('a file that is processed while its entity is soft removed is finished', async () => {
  const { background, users, user, storage, staging } = await start('plain', 'processing')
  await users.softRemove(user)
  await background.run()
  expect((await users.findOneOrFail({ where: { id: user.id }, withDeleted: true })).plain).toMatchObject({ processing: false, error: null })
  expect(storage.objects.size).toBe(2)
  expect(await filesIn(staging)).toEqual([])
})
