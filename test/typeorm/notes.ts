import 'reflect-metadata'
import { Column, type DataSource, Entity, type EntitySubscriberInterface, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from '../../src'
import type { Database } from '../support/databases'
import { database, type WorldOptions } from '../support/world'
import { Pet, people, User } from './people'

@Entity()
export class Note {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String })
  text!: string

  @Attachment({ accept: 'any' })
  copy!: Attached
}

/** Adds a subscriber of the user's, after ours. */
export function listen(dataSource: DataSource, subscriber: EntitySubscriberInterface<User>): void {
  dataSource.subscribers.push({ listenTo: () => User, ...subscriber })
}

/** People, and notes that subscribers write. */
export async function peopleWithNotes(on: Database, options: WorldOptions = {}) {
  const here = await people(on, { dataSource: await database([User, Pet, Note], { on }), ...options })
  const notes = here.dataSource.getRepository(Note)
  const all = () => here.users.find({ order: { id: 'ASC' } })
  return { ...here, notes, all }
}
