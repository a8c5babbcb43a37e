import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from 'typeorm-attachments'

@Entity()
export class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text')
  name!: string

  @Attachment({
    styles: { large: '800x800>', medium: '300x300>', thumb: '100x100#', small: '50x50#', tiny: '25x25#' },
    processingUrl: '/images/:style/processing.png',
    accept: ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif'],
    maxSize: '50 MB',
  })
  avatar!: Attached<'large' | 'medium' | 'thumb' | 'small' | 'tiny'>
}

export const styles = ['large', 'medium', 'thumb', 'small', 'tiny'] as const
