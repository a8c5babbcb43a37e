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
import { type Attached, Attachment } from '../../src'
import type { Database } from '../support/databases'
import { jpeg } from '../support/pictures'
import { type World, type WorldOptions, world } from '../support/world'

@Entity()
export class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @Column({ type: Number, default: 0 })
  visits!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/*'] })
  avatar!: Attached<'thumb'> | null

  @Attachment({ accept: 'any' })
  letter!: Attached | null

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
export class Pet {
  @PrimaryGeneratedColumn('uuid')
  id!: string

  @Column({ type: String, default: '' })
  name!: string

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

/** 60 × 40 */
export const first = jpeg(60, 40)
/** 80 × 90 */
export const second = jpeg(80, 90)

/** Whatever styles it has. */
type AnyFile = Attached<never> | null | undefined

export interface People extends World {
  readonly users: Repository<User>
  /** What its row says now. */
  fresh(user: { id: number }): Promise<User>
  /** A user whose avatar is attached, and not saved. */
  attached(bytes?: Promise<Buffer>): Promise<User>
  /** A user as loaded, whose avatar is saved and processed. */
  saved(bytes?: Promise<Buffer>): Promise<User>
}

/** Users and their pets in a new database. */
export async function people(on: Database, options: WorldOptions = {}): Promise<People> {
  const here = await world([User, Pet], { on, ...options })
  const { dataSource, attachments } = here
  const users = dataSource.getRepository(User)
  const fresh = ({ id }: { id: number }) => users.findOneByOrFail({ id })
  async function attached(bytes = first) {
    const user = users.create({ name: 'Ada' })
    await attachments.attach(user, 'avatar', await bytes)
    return user
  }
  async function saved(bytes = first) {
    const user = await users.save(await attached(bytes))
    await attachments.idle()
    return fresh(user)
  }
  return { ...here, users, fresh, attached, saved }
}

/** How a file stands: 'none', 'processing', 'failed' or 'stored'. */
export function state(file: AnyFile): string {
  if (!file?.present) return 'none'
  if (file.processing) return 'processing'
  return file.error ? 'failed' : 'stored'
}

/** The keys that the storage should hold when these files are all there is. */
export function keysOf(...files: AnyFile[]): string[] {
  return files.flatMap((file) => Object.values(file?.meta?.styles ?? {}).map(({ key }) => key)).sort()
}

/** The keys that the storage holds. */
export function stored({ storage }: World): string[] {
  return [...storage.objects.keys()].sort()
}
