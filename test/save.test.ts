import 'reflect-metadata'
import {
  Column,
  DeleteDateColumn,
  Entity,
  ManyToOne,
  OneToMany,
  PrimaryGeneratedColumn,
  type Repository,
  UpdateDateColumn,
  VersionColumn,
} from 'typeorm'
import { describe, expect, it, vi } from 'vitest'
import { type Attached, Attachment } from '../src'
import { jpeg } from './support/pictures'
import { database, filesIn, heldBackground, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text', { default: '' })
  name!: string

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'> | null

  @DeleteDateColumn()
  deletedAt!: Date | null

  @OneToMany(
    () => Pet,
    (pet) => pet.owner,
    { cascade: true },
  )
  pets!: Pet[]
}

@Entity()
class Pet {
  @PrimaryGeneratedColumn('uuid')
  id!: string

  @ManyToOne(
    () => User,
    (user) => user.pets,
  )
  owner!: User

  @Attachment({ accept: ['image/*'] })
  photo!: Attached

  @VersionColumn()
  revision!: number

  @UpdateDateColumn()
  changedAt!: Date
}

const first = jpeg(60, 40)
const second = jpeg(80, 90)

async function start() {
  const everything = await world([User, Pet])
  const { dataSource, attachments } = everything
  const users = dataSource.getRepository(User)
  const fresh = (id: number) => users.findOneByOrFail({ id })
  const saved = async (bytes = first) => {
    const user = users.create({ name: 'Ada' })
    await attachments.attach(user, 'avatar', await bytes)
    await users.save(user)
    await attachments.idle()
    return fresh(user.id)
  }
  return { ...everything, users, fresh, saved }
}

describe('save', () => {
  it('touches no file inside the transaction, and sends the job after the commit', async () => {
    const { dataSource, attachments, users, staging, storage, fresh } = await start()
    const user = users.create()
    await attachments.attach(user, 'avatar', await first)
    const staged = await filesIn(staging)
    await dataSource.transaction(async (manager) => {
      await manager.save(user)
      expect(await filesIn(staging)).toEqual(staged)
      await attachments.idle()
      expect(storage.objects.size).toBe(0)
      expect(await fresh(user.id).catch(() => 'not there yet')).toBe('not there yet')
    })
    await attachments.idle()
    expect((await fresh(user.id)).avatar).toMatchObject({ processing: false, error: null })
  })

  it('saves many at once, cascades, and reaches copies made by create()', async () => {
    const { dataSource, attachments, users, storage } = await start()
    const pet = new Pet()
    await attachments.attach(pet, 'photo', await first)
    const many = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const user = users.create()
        await attachments.attach(user, 'avatar', await second)
        return user
      }),
    )
    const copy = users.create(many[0] as User)
    await users.save([copy, ...many.slice(1)])
    copy.pets = [pet]
    await users.save(copy)
    await attachments.idle()
    const all = await users.find({ relations: { pets: true } })
    expect(all.map(({ avatar }) => avatar?.processing)).toEqual(Array(20).fill(false))
    expect(all.flatMap(({ pets }) => pets).map(({ photo }) => photo.processing)).toEqual([false])
    expect(storage.objects.size).toBe(20 * 2 + 1)
    expect(await dataSource.getRepository(Pet).findOneBy({ photo: { version: pet.photo.version as string } })).not.toBeNull()
  })

  it('keeps the same file through a repeated save in one transaction', async () => {
    const { dataSource, attachments, users, fresh } = await start()
    const user = users.create()
    await attachments.attach(user, 'avatar', await first)
    await dataSource.transaction(async (manager) => {
      await manager.save(user)
      user.name = 'again'
      await manager.save(user)
      await manager.save(user)
    })
    await attachments.idle()
    expect(await fresh(user.id)).toMatchObject({ name: 'again', avatar: { processing: false, version: user.avatar?.version } })
  })
})

describe('replace', () => {
  it('deletes the old files once the new ones are safe, and nothing earlier', async () => {
    const { attachments, users, saved, fresh, storage, staging } = await start()
    const user = await saved()
    const old = [...storage.objects.keys()]
    await attachments.attach(user, 'avatar', await second)
    expect([...storage.objects.keys()]).toEqual(old)
    await users.save(user)
    await attachments.idle()
    const now = await fresh(user.id)
    expect(now.avatar).toMatchObject({ processing: false, width: 80 })
    expect([...storage.objects.keys()].sort()).toEqual([now.avatar?.path(), now.avatar?.path('thumb')].sort())
    expect(now.avatar?.meta?.previous).toBeUndefined()
    expect(await filesIn(staging)).toEqual([])
  })

  it('of a file that is still processing leaves only the last one', async () => {
    const { attachments, users, fresh, storage, staging } = await start()
    const user = users.create()
    for (const bytes of [first, second, first, second]) {
      await attachments.attach(user, 'avatar', await bytes)
      await users.save(user)
    }
    await attachments.idle()
    const now = await fresh(user.id)
    expect(now.avatar).toMatchObject({ processing: false, width: 80 })
    expect(storage.objects.size).toBe(2)
    expect(await filesIn(staging)).toEqual([])
  })
})

describe('detach and remove', () => {
  it.each([
    ['detach()', async (user: User, attachments: { detach(user: User, name: 'avatar'): Promise<void> }) => attachments.detach(user, 'avatar')],
    ['null', async (user: User) => void Object.assign(user, { avatar: null })],
  ])('by %s deletes the files after the commit, and the value is empty', async (_name, take) => {
    const { attachments, users, saved, fresh, storage, staging } = await start()
    const user = await saved()
    await take(user, attachments)
    expect(storage.objects.size).toBe(2)
    await users.save(user)
    expect(user.avatar).toMatchObject({ present: false, version: null, processing: false })
    await attachments.idle()
    expect((await fresh(user.id)).avatar).toMatchObject({ present: false, version: null, updatedAt: null, meta: null })
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
  })

  it('remove() deletes the files, softRemove() keeps them for recover()', async () => {
    const { attachments, users, saved, storage } = await start()
    const user = await saved()
    await users.softRemove(user)
    await attachments.idle()
    expect(storage.objects.size).toBe(2)
    await users.recover(user)
    await attachments.idle()
    expect(storage.objects.size).toBe(2)
    await users.remove(user)
    await attachments.idle()
    expect(storage.objects.size).toBe(0)
  })

  it('removes what was still processing, and its staged file', async () => {
    const { attachments, users, storage, staging } = await start()
    const user = users.create()
    await attachments.attach(user, 'avatar', await first)
    await users.save(user)
    await users.remove(user)
    await attachments.idle()
    expect(storage.objects.size).toBe(0)
    expect(await filesIn(staging)).toEqual([])
  })

  it('does nothing to a new entity whose property is null', async () => {
    const { users } = await start()
    const user = users.create()
    user.avatar = null
    await users.save(user)
    expect(user.avatar).toMatchObject({ present: false })
  })
})

describe('rollback', () => {
  it('leaves the earlier file as it was, sends no job, and the same entity can be saved again', async () => {
    const { dataSource, attachments, users, saved, fresh, storage } = await start()
    const user = await saved()
    const before = (await fresh(user.id)).avatar
    await attachments.attach(user, 'avatar', await second)
    const failing = dataSource.transaction(async (manager) => {
      await manager.save(user)
      throw new Error('changed my mind')
    })
    await expect(failing).rejects.toThrow('changed my mind')
    await attachments.idle()
    expect((await fresh(user.id)).avatar).toEqual(before)
    expect([...storage.objects.keys()].sort()).toEqual([before?.path(), before?.path('thumb')].sort())
    await users.save(user)
    await attachments.idle()
    expect((await fresh(user.id)).avatar).toMatchObject({ processing: false, width: 80 })
    expect(storage.objects.size).toBe(2)
  })

  it('sends nothing to the queue, neither for what was saved nor for what was removed', async () => {
    const background = heldBackground()
    const { dataSource, attachments } = await world([User, Pet], { background })
    const [one, two] = [new User(), new User()]
    await attachments.attach(one, 'avatar', await first)
    await attachments.attach(two, 'avatar', await first)
    await dataSource.manager.save(one)
    expect(background.jobs.splice(0)).toHaveLength(1)
    const failing = dataSource.transaction(async (manager) => {
      await manager.save(two)
      await manager.remove(one)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await dataSource
      .transaction(async (manager) => {
        await manager.transaction(async (nested) => {
          await nested.save(two)
        })
        throw new Error('no')
      })
      .catch(() => undefined)
    expect(background.jobs).toEqual([])
    await dataSource.transaction(async (manager) => {
      await manager.save(new User())
      await manager
        .transaction(async (nested) => {
          await nested.save(two)
          throw new Error('no')
        })
        .catch(() => undefined)
    })
    expect(background.jobs).toEqual([])
  })

  it('of a savepoint drops its own jobs and keeps those around it', async () => {
    const { dataSource, attachments, users, fresh, storage } = await start()
    const outer = users.create()
    const inner = users.create()
    await attachments.attach(outer, 'avatar', await first)
    await attachments.attach(inner, 'avatar', await second)
    await dataSource.transaction(async (manager) => {
      await manager.save(outer)
      await manager
        .transaction(async (nested) => {
          await nested.save(inner)
          throw new Error('inner')
        })
        .catch(() => undefined)
    })
    await attachments.idle()
    expect((await fresh(outer.id)).avatar?.processing).toBe(false)
    expect(await users.count()).toBe(1)
    expect(storage.objects.size).toBe(2)
  })

  it.each([
    ['detach()', async (user: User, attachments: { detach(user: User, name: 'avatar'): Promise<void> }) => attachments.detach(user, 'avatar')],
    ['null', async (user: User) => void Object.assign(user, { avatar: null })],
  ])('of a detach by %s keeps the files, and saving again detaches', async (_name, take) => {
    const { dataSource, attachments, users, saved, fresh, storage } = await start()
    const user = await saved()
    await take(user, attachments)
    const failing = dataSource.transaction(async (manager) => {
      await manager.save(user)
      user.name = 'twice'
      await manager.save(user)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await attachments.idle()
    expect((await fresh(user.id)).avatar?.present).toBe(true)
    expect(storage.objects.size).toBe(2)
    await users.save(user)
    await attachments.idle()
    expect((await fresh(user.id)).avatar?.present).toBe(false)
    expect(user.avatar?.present).toBe(false)
    expect(storage.objects.size).toBe(0)
  })

  it('of a remove keeps the files', async () => {
    const { dataSource, attachments, saved, storage } = await start()
    const user = await saved()
    const failing = dataSource.transaction(async (manager) => {
      await manager.remove(user)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await attachments.idle()
    expect(storage.objects.size).toBe(2)
  })

  it('after one of many failed: nothing is written for the others after it', async () => {
    const { attachments, users, saved, fresh } = await start()
    const existing = await saved()
    const version = existing.avatar?.version
    await attachments.attach(existing, 'avatar', await second)
    const gone = await saved()
    await attachments.attach(gone, 'avatar', await second)
    await users.query(
      'CREATE FUNCTION no() RETURNS trigger AS $$ BEGIN IF OLD.id = ' +
        gone.id +
        " AND NEW.avatar_meta <> OLD.avatar_meta THEN RAISE 'no'; END IF; RETURN NEW; END $$ LANGUAGE plpgsql",
    )
    await users.query('CREATE TRIGGER no BEFORE UPDATE ON "user" FOR EACH ROW EXECUTE FUNCTION no()')
    await expect(users.save([gone, existing])).rejects.toThrow('no')
    await attachments.idle()
    expect((await fresh(existing.id)).avatar).toMatchObject({ version, processing: false })
  })
})

describe('columns changed behind the library’s back are never written', () => {
  const forged = { version: 'f'.repeat(32), fileName: 'evil.exe', processing: false, meta: { storage: 'default', id: '1', styles: {} } }

  it.each([
    ['a new entity made from a request', async (users: Repository<User>) => users.save(users.create({ avatar: forged } as never))],
    ['a plain object', async (users: Repository<User>) => users.save({ name: 'x', avatar: forged } as never)],
    ['insert()', async (users: Repository<User>) => users.insert({ avatar: forged } as never)],
    ['upsert()', async (users: Repository<User>) => users.upsert({ id: 1, avatar: forged } as never, ['id'])],
    ['update()', async (users: Repository<User>, id: number) => users.update(id, { avatar: forged } as never)],
    ['update() of one column', async (users: Repository<User>, id: number) => users.update(id, { avatar: { updatedAt: new Date() } } as never)],
    [
      'a query builder',
      async (users: Repository<User>, id: number) =>
        users
          .createQueryBuilder()
          .update()
          .set({ avatar: forged } as never)
          .where({ id })
          .execute(),
    ],
    [
      'the file of another row',
      async (users: Repository<User>, id: number) =>
        users.save(Object.assign(await users.findOneByOrFail({ id: id + 1 }), { avatar: (await users.findOneByOrFail({ id })).avatar, name: 'z' })),
    ],
  ])('%s is refused with an error', async (_name, write) => {
    const { users, saved, fresh } = await start()
    const user = await saved()
    await saved()
    const before = (await fresh(user.id)).avatar
    await expect(write(users, user.id)).rejects.toMatchObject({ code: 'foreign_write', message: expect.stringContaining('User.avatar') })
    expect((await fresh(user.id)).avatar).toEqual(before)
    expect(await users.count()).toBe(2)
  })

  it('an update of an existing row by a forged body writes nothing', async () => {
    const { users, saved, fresh } = await start()
    const user = await saved()
    const before = (await fresh(user.id)).avatar
    await users.save({ id: user.id, avatar: { fileName: 'evil.exe' } } as never).catch(() => undefined)
    const claim = { ...forged, meta: { ...forged.meta, id: String(user.id) } }
    await expect(users.save(users.create({ id: user.id, name: 'new', avatar: claim } as never))).rejects.toMatchObject({ code: 'foreign_write' })
    expect((await fresh(user.id)).avatar).toEqual(before)
  })

  it('a forged body names no object of the storage, neither for a URL nor for reading nor for a copy', async () => {
    const { attachments, users, saved } = await start()
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

  it('a stale entity saved later brings nothing back, and is shown what is true', async () => {
    const { attachments, users, saved, fresh } = await start()
    const user = await saved()
    const [stale, staleEmpty] = [await fresh(user.id), users.create({ id: user.id })]
    await attachments.attach(user, 'avatar', await second)
    await users.save(user)
    const processing = await fresh(user.id)
    await attachments.idle()
    const truth = (await fresh(user.id)).avatar
    for (const [index, entity] of [stale, processing, staleEmpty].entries()) {
      entity.name = `stale ${index}`
      await users.save(entity)
      await attachments.idle()
      expect(await fresh(user.id)).toMatchObject({ name: `stale ${index}`, avatar: truth })
    }
    expect(stale.avatar?.version).toBe(truth?.version)
  })

  it('a background write neither bumps @VersionColumn nor @UpdateDateColumn', async () => {
    const { dataSource, attachments } = await start()
    const pets = dataSource.getRepository(Pet)
    const pet = new Pet()
    await attachments.attach(pet, 'photo', await first)
    await pets.save(pet)
    const before = await pets.findOneByOrFail({ id: pet.id })
    await attachments.idle()
    const after = await pets.findOneByOrFail({ id: pet.id })
    expect(after.photo.processing).toBe(false)
    expect(after).toMatchObject({ revision: before.revision, changedAt: before.changedAt })
  })
})

it('works on a pool of one connection', async () => {
  const dataSource = await database([User, Pet], { poolSize: 1 } as never)
  const { attachments } = await world([User, Pet], { dataSource })
  const users = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const user = new User()
      await attachments.attach(user, 'avatar', await first)
      return user
    }),
  )
  await Promise.all(users.map((user) => dataSource.manager.save(user)))
  await attachments.idle()
  expect(await dataSource.getRepository(User).countBy({ avatar: { processing: false } })).toBe(5)
})

it.each([
  ['rejects', () => Promise.reject(new Error('the queue is down'))],
  [
    'throws',
    () => {
      throw new Error('the queue is down')
    },
  ],
  ['does not answer', () => new Promise<void>(() => undefined)],
])('lets save() succeed when the queue %s', async (_how, enqueue) => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const { dataSource, attachments } = await world([User, Pet], {
    background: { enqueue, work: async () => ({ stop: async () => undefined }) },
  })
  const user = new User()
  await attachments.attach(user, 'avatar', await first)
  await dataSource.manager.save(user)
  expect(user.avatar?.processing).toBe(true)
  expect(warned).toHaveBeenCalledWith(
    expect.stringMatching(/User\.avatar could not be sent, requeueLost\(\) .*the queue (is down|did not answer)/),
    'AttachmentWarning',
  )
  warned.mockRestore()
})
