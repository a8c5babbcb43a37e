import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from '../../src'

/** The five styles of the tutorial from which the idea comes. */
export const fiveStyles = { large: '800x800>', medium: '300x300>', thumb: '100x100#', small: '50x50#', tiny: '25x25#' } as const

/** Has two pictures. */
@Entity()
export class Person {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String })
  name!: string

  @Attachment({ styles: fiveStyles, accept: ['image/*'], processingUrl: '/images/:style.png' })
  avatar!: Attached<keyof typeof fiveStyles>

  @Attachment({ styles: fiveStyles, accept: ['image/*'] })
  cover!: Attached<keyof typeof fiveStyles>
}

/** The columns of an attachment, as anybody may write them down. */
export class PlainFile {
  @Column({ type: String, nullable: true })
  fileName?: string

  @Column({ type: String, nullable: true })
  contentType?: string

  @Column({ type: 'bigint', nullable: true, transformer: { to: (value) => value, from: (value) => (value === null ? null : Number(value)) } })
  fileSize?: number

  @Column({ type: Date, precision: 3, nullable: true })
  updatedAt?: Date

  @Column({ type: String, nullable: true, length: 64 })
  fingerprint?: string

  @Column({ type: String, nullable: true, length: 32 })
  version?: string

  @Column({ type: Boolean, default: false })
  processing!: boolean

  @Column({ type: Date, precision: 3, nullable: true })
  attemptedAt?: Date

  @Column({ type: 'simple-json', nullable: true })
  error?: object

  @Column({ type: 'simple-json', nullable: true })
  meta?: object
}

/** The same table without us. */
@Entity()
export class PlainPerson {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String })
  name!: string

  @Column(() => PlainFile, { prefix: 'avatar' })
  avatar!: PlainFile

  @Column(() => PlainFile, { prefix: 'cover' })
  cover!: PlainFile
}
