import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from 'typeorm-attachments'

@Entity()
export class Photo {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({
    styles: {
      large: { geometry: '1600x1600>', format: 'webp' },
      medium: { geometry: '800x800>', format: 'webp' },
      small: { geometry: '400x400>', format: 'webp' },
    },
    accept: ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif'],
    maxSize: '200 MB',
  })
  picture!: Attached<'large' | 'medium' | 'small'>
}
