import type { Repository } from 'typeorm'
import { OptimisticLockVersionMismatchError } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { memoryStorage, StorageError } from '../../src'
import { type Database, databases, servers } from '../support/databases'
import { heldBackground, type WorldOptions } from '../support/world'
import { first, keysOf, Pet, people, second, state, stored } from './people'

/** A pet, which has @VersionColumn and @UpdateDateColumn, and whose photo is saved; its job is held back. */
async function start(on: Database, options: WorldOptions = {}) {
  const background = heldBackground()
  const here = await people(on, { background, ...options })
  const pets = here.dataSource.getRepository(Pet)
  const pet = new Pet()
  await here.attachments.attach(pet, 'photo', await first)
  await pets.save(pet)
  const fresh = () => pets.findOneByOrFail({ id: pet.id })
  return { ...here, background, pets, pet, fresh }
}

const lock = (pets: Repository<Pet>, { id }: Pet, version: number | Date) =>
  pets.findOneOrFail({ where: { id }, lock: { mode: 'optimistic', version } })

describe.each(databases)('@VersionColumn and @UpdateDateColumn on %s', (on) => {
  it('are not bumped by a job', async () => {
    const { background, fresh, pet } = await start(on)
    const before = await fresh()
    expect(before).toMatchObject({ revision: 1, changedAt: pet.changedAt })
    await background.run()
    const after = await fresh()
    expect(state(after.photo)).toBe('stored')
    expect(after).toMatchObject({ revision: 1, changedAt: before.changedAt })
  })

  it('are not bumped by requeueLost(), nor by a job that fails', async () => {
    const storage = { ...memoryStorage(), write: () => Promise.reject(new StorageError('down', 'down')) }
    const { attachments, background, fresh } = await start(on, { storage, retry: { attempts: 1 } })
    const before = await fresh()
    expect(await attachments.requeueLost({ olderThan: -2000 })).toBe(1)
    await background.run()
    const after = await fresh()
    expect(after.photo.error).toMatchObject({ code: 'down' })
    expect(after).toMatchObject({ revision: 1, changedAt: before.changedAt })
  })

  it('are bumped once by a save that attaches or detaches, and the entity knows', async () => {
    const { attachments, pets, pet, fresh } = await start(on)
    await attachments.attach(pet, 'photo', await second)
    await pets.save(pet)
    expect(await fresh()).toMatchObject({ revision: 2, changedAt: pet.changedAt })
    expect(pet.revision).toBe(2)
    await attachments.detach(pet, 'photo')
    await pets.save(pet)
    expect(await fresh()).toMatchObject({ revision: 3, changedAt: pet.changedAt, photo: { present: false } })
  })

  it('hold an optimistic lock that was taken before the job ended', async () => {
    const { background, pets, pet, fresh } = await start(on)
    const { revision, changedAt } = await fresh()
    await background.run()
    for (const version of [revision, changedAt]) {
      expect((await lock(pets, pet, version)).photo).toMatchObject({ processing: false })
    }
  })

  it('an optimistic lock that fails loses no file, and the save can be tried again', async () => {
    const here = await start(on)
    await here.background.run()
    const pet = await here.fresh()
    const before = pet.photo
    await here.pets.save({ id: pet.id, name: 'of somebody else' })
    await here.attachments.attach(pet, 'photo', await second)
    const failing = here.dataSource.transaction(async (manager) => {
      await lock(manager.getRepository(Pet), pet, 1)
      await manager.save(pet)
    })
    await expect(failing).rejects.toThrow(OptimisticLockVersionMismatchError)
    await here.background.run()
    expect(await here.fresh()).toMatchObject({ name: 'of somebody else', photo: { version: before.version, width: 60 } })
    const again = await lock(here.pets, pet, 2)
    again.photo = pet.photo
    await here.pets.save(again)
    await here.background.run()
    const { photo } = await here.fresh()
    expect(photo).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(photo))
  })
})

describe.each(servers)('a row locked by the user, on %s', (on) => {
  it('makes the job wait, and then end well', async () => {
    const here = await start(on)
    let ended = false
    const running = await here.dataSource.transaction(async (manager) => {
      const pet = await manager.findOneOrFail(Pet, { where: { id: here.pet.id }, lock: { mode: 'pessimistic_write' } })
      const job = here.background.run().then(() => {
        ended = true
      })
      await manager.save(Object.assign(pet, { name: 'locked' }))
      await expect.poll(() => on.blocked(here.dataSource), { interval: 150 }).toBe(true)
      expect(ended).toBe(false)
      return { job }
    })
    await running.job
    expect(await here.fresh()).toMatchObject({ name: 'locked', photo: { present: true, processing: false, error: null } })
  })

  it('and given another file meanwhile ends the job quietly, without a deadlock', async () => {
    const here = await start(on)
    // among others, or the database would take another index
    for (const other of Array.from({ length: 5 }, () => new Pet())) {
      await here.attachments.attach(other, 'photo', await first)
      await here.pets.save(other)
    }
    here.background.jobs.splice(1)
    const running = await here.dataSource.transaction(async (manager) => {
      const pet = await manager.findOneOrFail(Pet, { where: { id: here.pet.id }, lock: { mode: 'pessimistic_write' } })
      const job = here.background.run()
      await expect.poll(() => on.blocked(here.dataSource), { interval: 150 }).toBe(true)
      await here.attachments.attach(pet, 'photo', await second)
      await manager.save(pet)
      return { job }
    })
    await running.job
    await here.background.run()
    const { photo } = await here.fresh()
    expect(photo).toMatchObject({ processing: false, width: 80 })
    expect(stored(here)).toEqual(keysOf(photo))
  })
})
