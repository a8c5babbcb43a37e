import type { AttachmentRecord, StyleRecord } from '../attachment/record'
import type { Definition } from '../definition/definition'
import type { Storage } from '../storage/storage'
import { contentTypeExtension } from '../template/tokens'
import { inputFrom } from './input'

/** Makes the styles that are wanted at once, and stages them beside their original. Where one of them fails, none of them stays. */
export async function makeAtOnce(columns: AttachmentRecord, definition: Definition, staging: Storage): Promise<AttachmentRecord> {
  const { contentType } = columns
  let { meta } = columns
  const styles: Record<string, StyleRecord> = { ...meta.styles }
  const { staged: original = '', etag } = styles['original'] as StyleRecord
  const now = Object.entries(styles).flatMap(([name, { style }]) => (style && definition.madeAtOnce(name) ? [style] : []))
  const staged: string[] = []
  try {
    for await (const made of definition.processor.process(inputFrom(staging, original, contentType, { etag }), now)) {
      const { style, body, contentType, width, height, thumbhash } = made
      const key = original.replace(/[^/]+$/, `${style.name}.${contentTypeExtension(contentType)}`)
      staged.push(key)
      await staging.write(key, body, { contentType, size: body.length })
      styles[style.name] = { ...(styles[style.name] as StyleRecord), contentType, staged: key, size: body.length, width, height }
      if (thumbhash) meta = { ...meta, thumbhash: Buffer.from(thumbhash).toString('base64') }
    }
  } catch (error) {
    await staging.delete(staged).catch(() => undefined)
    throw error
  }
  return { ...columns, meta: { ...meta, styles } }
}
