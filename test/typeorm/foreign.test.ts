import type { Repository } from 'typeorm'
import { describe, expect, it } from 'vitest'
import type { Attached } from '../../src'
import { databases } from '../support/databases'
import { keysOf, people, stored, User } from './people'

const forged = { version: 'f'.repeat(32), fileName: 'evil.exe', processing: false, meta: { storage: 'default', id: '1', styles: {} } }

type Write = (users: Repository<User>, id: number) => Promise<unknown>

/** The ways to write columns that nobody attached. */
const writes: Array<[string, Write]> = [
  ['a new entity made from a request', (users) => users.save(users.create({ avatar: forged } as never))],
  ['a plain object', (users) => users.save({ name: 'x', avatar: forged } as never)],
  ['insert()', (users) => users.insert({ avatar: forged } as never)],
  ['upsert()', (users) => users.upsert({ id: 1, avatar: forged } as never, ['id'])],
  ['update()', (users, id) => users.update(id, { avatar: forged } as never)],
  ['update() of one column', (users, id) => users.update(id, { avatar: { updatedAt: new Date() } } as never)],
  [
    'a query builder',
    (users, id) =>
      users
        .createQueryBuilder()
        .update()
        .set({ avatar: forged } as never)
        .where({ id })
        .execute(),
  ],
  [
    'the file of another row',
    async (users, id) => {
      const [one, other] = [await users.findOneByOrFail({ id }), await users.findOneByOrFail({ id: id + 1 })]
      return users.save(Object.assign(other, { avatar: one.avatar, name: 'z' }))
    },
  ],
]

describe.each(databases)('columns that nobody attached, on %s', (on) => {
  it.each(writes)('%s is refused with an error', async (_name, write) => {
    const here = await people(on)
    const user = await here.saved()
    await here.saved()
    const before = (await here.fresh(user)).avatar
    await expect(write(here.users, user.id)).rejects.toMatchObject({ code: 'foreign_write', message: expect.stringContaining('User.avatar') })
    expect((await here.fresh(user)).avatar).toEqual(before)
    expect(await here.users.count()).toBe(2)
  })

  it('an update of an existing row by a forged body writes nothing', async () => {
    const here = await people(on)
    const user = await here.saved()
    const before = (await here.fresh(user)).avatar
    await here.users.save({ id: user.id, avatar: { fileName: 'evil.exe' } } as never).catch(() => undefined)
    const claim = { ...forged, meta: { ...forged.meta, id: String(user.id) } }
    const save = here.users.save(here.users.create({ id: user.id, name: 'new', avatar: claim } as never))
    await expect(save).rejects.toMatchObject({ code: 'foreign_write' })
    expect((await here.fresh(user)).avatar).toEqual(before)
  })

  it('a forged body names no object of the storage, neither for a URL nor for reading nor for a copy', async () => {
    const { attachments, users, saved } = await people(on)
    const victim = await saved()
    const original = { key: victim.avatar?.path(), contentType: 'image/jpeg', written: true, size: 1 }
    const body = { avatar: { ...forged, meta: { storage: 'default', id: '1', styles: { original, thumb: original } } } }
    for (const entity of [users.create(body as never) as unknown as User, users.merge(new User(), body as never)]) {
      expect(entity.avatar?.url('thumb')).toBeNull()
      expect(entity.avatar?.path()).toBeNull()
      await expect(entity.avatar?.stream()).rejects.toMatchObject({ code: 'not_ready' })
      await expect(attachments.attach(new User(), 'avatar', entity.avatar as Attached)).rejects.toMatchObject({ code: 'not_ready' })
      expect(JSON.stringify(entity)).not.toContain(victim.avatar?.version)
    }
  })

  it('the file of another attachment is refused, and a copy of it is taken', async () => {
    const here = await people(on)
    const user = await here.saved()
    await here.attachments.attach(user, 'letter', user.avatar as Attached)
    const misplaced = Object.assign(await here.fresh(user), { avatar: user.letter })
    await expect(here.users.save(misplaced)).rejects.toMatchObject({ code: 'other_attachment' })
    await here.users.save(user)
    await here.attachments.idle()
    const { avatar, letter } = await here.fresh(user)
    expect(letter).toMatchObject({ processing: false, fingerprint: avatar?.fingerprint })
    expect(stored(here)).toEqual(keysOf(avatar, letter))
  })

  it('one attached file is no two: on a second row it is refused, in one save and later', async () => {
    const here = await people(on)
    const user = await here.attached()
    await expect(here.users.save([user, here.users.create(user)])).rejects.toThrow()
    expect(await here.users.count()).toBe(0)
    await here.users.save(user)
    const thief = here.users.create({ name: 'thief' })
    thief.avatar = user.avatar
    await expect(here.users.save(thief)).rejects.toMatchObject({ code: 'foreign_write' })
    expect(await here.users.count()).toBe(1)
  })
})
