import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from '../../src'

@Entity()
export class Photo {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ accept: ['image/jpeg'], styles: { thumb: '10x10' }, processInBackground: { queue: 'pictures' } })
  picture!: Attached<'thumb'> | null
}
