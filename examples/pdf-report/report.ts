import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment } from 'typeorm-attachments'

@Entity()
export class Report {
  @PrimaryGeneratedColumn()
  id!: number

  @Column('text')
  title!: string

  @Column('int')
  pages!: number

  /** Why it could not be rendered. */
  @Column('text', { nullable: true })
  problem!: string | null

  @Attachment({ accept: ['application/pdf'], maxSize: '500 KB' })
  document!: Attached

  get state(): 'rendering' | 'storing' | 'done' | 'failed' {
    if (this.problem !== null || this.document.error) return 'failed'
    if (!this.document.present) return 'rendering'
    return this.document.processing ? 'storing' : 'done'
  }
}
