import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment, outsideProcessor } from 'typeorm-attachments'
import { at } from './settings'

/** Its first page is painted by a service that is none of ours. */
const converter = outsideProcessor({
  reads: (contentType) => contentType === 'text/plain',
  format: 'png',
  within: 2 * 60_000,
  async hand({ source, result, until, style }) {
    const { ok, status } = await fetch(at('CONVERTER_PORT'), { method: 'POST', body: JSON.stringify({ source, result, until, style: style.name }) })
    if (!ok) throw new Error(`the converter answered ${status}`)
  },
})

@Entity()
export class Document {
  @PrimaryGeneratedColumn()
  id!: number

  /** Who may take it back while it is on its way. */
  @Column('varchar', { length: 32 })
  visitor!: string

  @Attachment({ styles: { page: '600x800' }, accept: ['text/plain'], maxSize: '1 MB', processors: [converter] })
  file!: Attached<'page'>
}
