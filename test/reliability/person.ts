import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from '../../src'

/** What the runs here save: an attachment of every kind. */
@Entity()
export class Person {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text')
  name!: string

  @Attachment({
    styles: { large: '50x50>', medium: '30x30>', thumb: { geometry: '10x10#', format: 'webp' } },
    accept: ['image/*'],
    whileProcessing: 'previous',
  })
  avatar!: Attached<'large' | 'medium' | 'thumb'>

  @Attachment({ styles: { thumb: '10x10#' }, accept: ['image/*'], processInBackground: false })
  badge!: Attached<'thumb'>

  @Attachment({ styles: { thumb: '10x10#', big: '50x50>' }, accept: ['image/*'], processInBackground: { only: ['big'] } })
  cover!: Attached<'thumb' | 'big'>

  @Attachment({ accept: 'any' })
  paper!: Attached
}

export const properties = ['avatar', 'badge', 'cover', 'paper'] as const

export type Property = (typeof properties)[number]

/** The styles that a finished file has. */
export const stylesOf: Readonly<Record<Property, readonly string[]>> = {
  avatar: ['large', 'medium', 'original', 'thumb'],
  badge: ['original', 'thumb'],
  cover: ['big', 'original', 'thumb'],
  paper: ['original'],
}

export function person(name: string): Person {
  return Object.assign(new Person(), { name })
}
