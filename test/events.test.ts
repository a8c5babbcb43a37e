import 'reflect-metadata'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, it } from 'vitest'
import { type Attached, Attachment, type Attachments, type Signal, type State } from '../src'
import { jpeg } from './support/pictures'
import { heldBackground, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn() id!: number
  @Attachment({ styles: { large: '80x80>', thumb: '20x20#' }, accept: ['image/*'] })
  avatar!: Attached<'large' | 'thumb'>
}

const states: readonly State[] = ['attached', 'processing', 'progress', 'processed', 'failed', 'removed']

/** All that is told, in its order. */
function heard(attachments: Attachments): Signal[] {
  const signals: Signal[] = []
  for (const state of states) attachments.events.on(state, (signal) => signals.push(signal))
  return signals
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

it('ready() resolves when the style is there, to a value that shows it', async () => {
  const background = heldBackground()
  const { attachments, dataSource } = await world([User], { background })
  const user = new User()
  await attachments.attach(user, 'avatar', await jpeg(100, 100))
  await dataSource.manager.save(user)
  const waiting = user.avatar.ready('thumb')
  await background.run()
  const avatar = await waiting
  expect(avatar).toBe(user.avatar)
  expect(avatar.url('thumb')).toMatch(/^https:\/\/files\.test\/.*thumb/)
  expect(avatar.processing).toBe(false)
})
