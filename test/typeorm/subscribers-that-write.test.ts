import type { DataSource } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { inlineBackground } from '../../src'
import { databases, servers } from '../support/databases'
import { listen, Note, peopleWithNotes as start } from './notes'
import { keysOf, second, state, stored, User } from './people'

describe.each(databases)('a subscriber of the user’s that writes, on %s', (on) => {
  it('that writes the same row by the event’s manager, before and after, keeps the file', async () => {
    const here = await start(on)
    listen(here.dataSource, {
      afterInsert: async ({ manager, entity }) => void (await manager.increment(User, { id: entity.id }, 'visits', 1)),
      beforeUpdate: ({ entity }) => void Object.assign(entity ?? {}, { name: 'set by a subscriber' }),
      afterUpdate: async ({ manager, entity }) => {
        if (entity?.['id']) await manager.query(`UPDATE ${here.dataSource.driver.escape('user')} SET visits = visits + 10 WHERE id = ${entity['id']}`)
      },
    })
    const user = await here.users.save(await here.attached())
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(user)
    await here.attachments.idle()
    const now = await here.fresh(user)
    expect(now).toMatchObject({ name: 'set by a subscriber', avatar: { processing: false, width: 80 } })
    expect(now.visits).toBeGreaterThan(9)
    expect(stored(here)).toEqual(keysOf(now.avatar))
  })

  it('that saves the same entity again keeps the file, and one job', async () => {
    const here = await start(on)
    listen(here.dataSource, {
      afterInsert: async ({ manager, entity }) => void (await manager.save(Object.assign(entity, { name: 'again' }))),
    })
    const user = await here.users.save(await here.attached())
    await here.attachments.idle()
    const now = await here.fresh(user)
    expect(now).toMatchObject({ name: 'again', avatar: { processing: false, width: 60 } })
    expect(stored(here)).toEqual(keysOf(now.avatar))
  })

  it('that saves another row with a file by the event’s manager saves both', async () => {
    const here = await start(on)
    const { attachments } = here
    listen(here.dataSource, {
      async afterInsert({ manager, entity }) {
        const note = Object.assign(new Note(), { text: `of ${entity.id}` })
        await attachments.attach(note, 'copy', Buffer.from('a copy'))
        await manager.save(note)
      },
    })
    const users = await here.users.save([await here.attached(), await here.attached()])
    await here.attachments.idle()
    const notes = await here.notes.find()
    expect(notes.map(({ text }) => text).sort()).toEqual(users.map(({ id }) => `of ${id}`))
    expect(notes.map(({ copy }) => state(copy))).toEqual(['stored', 'stored'])
    expect(stored(here)).toEqual(keysOf(...(await here.all()).map(({ avatar }) => avatar), ...notes.map(({ copy }) => copy)))
  })

  it('that removes another row with a file by the event’s manager deletes its files', async () => {
    const here = await start(on)
    const victim = await here.saved()
    listen(here.dataSource, { afterInsert: async ({ manager }) => void (await manager.remove(victim)) })
    const user = await here.users.save(await here.attached())
    await here.attachments.idle()
    expect(await here.all()).toHaveLength(1)
    expect(stored(here)).toEqual(keysOf((await here.fresh(user)).avatar))
  })

  it('that saves another row with a file in beforeTransactionCommit saves both', async () => {
    const here = await start(on)
    const other = await here.attached(second)
    let first = true
    here.dataSource.subscribers.push({
      async beforeTransactionCommit({ manager }) {
        if (first) {
          first = false
          await manager.save(other)
        }
      },
    })
    await here.users.save(await here.attached())
    await here.attachments.idle()
    expect((await here.all()).map(({ avatar }) => state(avatar))).toEqual(['stored', 'stored'])
  })

  it('whose savepoint is rolled back beside our statements takes none of them along', async () => {
    const here = await start(on)
    listen(here.dataSource, {
      async afterInsert({ manager }) {
        const failing = manager.transaction(async (nested) => {
          await nested.save(Object.assign(new Note(), { text: 'lost' }))
          throw new Error('theirs')
        })
        await failing.catch(() => undefined)
      },
    })
    const user = await here.users.save(await here.attached())
    await here.attachments.idle()
    expect((await here.fresh(user)).avatar).toMatchObject({ present: true, processing: false })
  })

  it('that begins and rolls back a transaction of its own after the commit takes no job on the same connection along', async () => {
    const here = await start(on, { background: inlineBackground() })
    let first = true
    here.dataSource.subscribers.push({
      async afterTransactionCommit({ queryRunner }) {
        if (!first || queryRunner.isTransactionActive) return
        first = false
        await queryRunner.startTransaction()
        // time for statements of a job that would not wait
        for (let turn = 0; turn < 50; turn++) await queryRunner.query('SELECT 1')
        expect(stored(here)).toEqual([])
        await queryRunner.rollbackTransaction()
      },
    })
    const user = await here.users.save(await here.attached())
    expect(state((await here.fresh(user)).avatar)).toBe('stored')
  })
})

describe.each(servers)('a subscriber that writes on another connection, on %s', (on) => {
  it('saves another row with a file, before and after, whatever becomes of this one', async () => {
    const here = await start(on)
    const { attachments, notes } = here
    const write = (text: string) => async () => {
      const note = notes.create({ text })
      await attachments.attach(note, 'copy', Buffer.from(text))
      await notes.save(note)
    }
    listen(here.dataSource, { beforeInsert: write('before'), afterInsert: write('after') })
    const user = await here.users.save(await here.attached())
    const lost = await here.attached()
    const failing = here.dataSource.transaction(async (manager) => {
      await manager.save(lost)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await attachments.idle()
    const written = await notes.find({ order: { id: 'ASC' } })
    expect(written.map(({ text, copy }) => [text, state(copy)])).toEqual([
      ['before', 'stored'],
      ['after', 'stored'],
      ['before', 'stored'],
      ['after', 'stored'],
    ])
    expect(stored(here)).toEqual(keysOf((await here.fresh(user)).avatar, ...written.map(({ copy }) => copy)))
  })

  it('changes the same row before the update: our columns stay as they should be', async () => {
    const here = await start(on)
    const user = await here.saved()
    const { users } = here
    listen(here.dataSource, {
      beforeUpdate: async ({ queryRunner, entity }) => {
        if (entity?.['avatar'] && queryRunner.isTransactionActive) await users.query(sql(here.dataSource, user.id))
      },
    })
    await here.attachments.attach(user, 'avatar', await second)
    await here.users.save(user)
    await here.attachments.idle()
    const now = await here.fresh(user)
    expect(now).toMatchObject({ visits: 5, avatar: { processing: false, width: 80 } })
    expect(stored(here)).toEqual(keysOf(now.avatar))
  })
})

function sql(dataSource: DataSource, id: number): string {
  return `UPDATE ${dataSource.driver.escape('user')} SET visits = 5 WHERE id = ${id}`
}
