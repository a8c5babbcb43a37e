import { type AnyAttached, Attached } from '../attachment/attached'
import { type AttachmentRecord, newVersion, type StyleRecord } from '../attachment/record'
import type { Definition } from '../definition/definition'
import { RefusedFileError, UsageError } from '../errors'
import { accepts, contentTypeOf } from '../file/content-type'
import { cleanFileName } from '../file/file-name'
import { type Measured, measured } from '../file/measure'
import { letGo, openSource, type Source } from '../file/source'
import type { ProcessorInput } from '../processor/processor'
import type { Storage } from '../storage/storage'
import { contentTypeExtension } from '../template/tokens'
import { stagedHere } from './elsewhere'
import { inputFrom } from './input'
import { plannedStyle } from './plan'

export interface AttachOptions {
  /** What a person should see as its name. Default: the source's own, if it has one, else `file`. */
  fileName?: string
  /** What you know it to be, for text that does not tell by its bytes (CSV, JSON …). Never pass on what a client said. */
  contentType?: string
}

/**
 * Reads a source once, to its end: stages the bytes, tells what they are, and makes the styles that are wanted at once.
 * What comes back is not in the database yet. A source that is refused leaves nothing behind.
 */
export async function receive(
  definition: Definition,
  entityName: string,
  owner: object,
  source: Source | AnyAttached,
  options: AttachOptions,
  staging: Storage,
): Promise<AttachmentRecord> {
  const opened = source instanceof Attached ? await reopen(source) : await openSource(source)
  const version = newVersion()
  const folder = `${entityName}/${definition.property}/${version.slice(0, 2)}/${version}`
  const original = `${folder}/original`
  const staged = [original]
  let written = Promise.resolve()
  try {
    const fileName = cleanFileName(checkedName(options.fileName ?? opened.fileName ?? ''))
    const { body, size, facts } = measured(opened.content, definition)
    written = staging.write(original, body, { contentType: 'application/octet-stream', size })
    // while the last bytes are brought to the disk it is told what they are
    const identified = facts.then((facts) =>
      identify(facts, fileName, definition, options, (contentType) => inputFrom(staging, original, contentType, written)),
    )
    const area = facts.then(() => stagedHere(staging))
    for (const ahead of [identified, area]) ahead.catch(() => undefined)
    await written
    const { size: fileSize, fingerprint } = await facts
    const { contentType, width, height } = await identified
    const wanted = definition.processor.reads(contentType) ? definition.stylesFor(owner) : []
    const styles: Record<string, StyleRecord> = {
      original: { key: '', contentType, written: false, staged: original, size: fileSize, width, height },
      ...Object.fromEntries(wanted.map((style) => [style.name, plannedStyle(style, definition, contentType)])),
    }
    const now = wanted.flatMap(({ name }) => (definition.madeAtOnce(name) ? (styles[name]?.style ?? []) : []))
    for await (const made of definition.processor.process(inputFrom(staging, original, contentType), now)) {
      const { style, body, contentType, width, height } = made
      const key = `${folder}/${style.name}.${contentTypeExtension(contentType)}`
      staged.push(key)
      await staging.write(key, body, { contentType, size: body.length })
      styles[style.name] = { ...(styles[style.name] as StyleRecord), contentType, staged: key, size: body.length, width, height }
    }
    const here = await area
    return {
      fileName,
      contentType,
      fileSize,
      updatedAt: new Date(),
      fingerprint,
      version,
      processing: true,
      attemptedAt: null,
      error: null,
      meta: { storage: definition.storage ?? '', id: '', styles, ...(here && { area: here }) },
    }
  } catch (error) {
    letGo(opened.content)
    await written.catch(() => undefined)
    await staging.delete(staged).catch(() => undefined)
    throw error
  }
}

function checkedName(name: unknown): string {
  if (typeof name === 'string') return name
  throw new UsageError(
    'bad_file_name',
    `a file name must be a string, and this is ${JSON.stringify(name)}: take one name where a request sent several`,
  )
}

async function identify(
  { head, cutShort }: Measured,
  fileName: string,
  { accept, entity, property, processor }: Definition,
  { contentType: hint }: AttachOptions,
  input: (contentType: string) => ProcessorInput,
): Promise<{ contentType: string; width?: number; height?: number }> {
  const contentType = await contentTypeOf(head, fileName, hint)
  if (!accepts(accept, contentType)) {
    const taken = accept === 'any' ? accept : accept.join(', ')
    throw new RefusedFileError(
      'type_not_accepted',
      `${entity}.${property} does not take ${contentType}, which '${fileName}' is by its bytes: it takes ${taken}`,
    )
  }
  if (cutShort) throw new RefusedFileError('corrupt_image', `the picture '${fileName}' ends before it is whole: it was cut off on its way`)
  const found = processor.reads(contentType) ? await processor.identify?.({ ...input(contentType), head }) : undefined
  return { contentType, width: found?.width, height: found?.height }
}

/** A file that is attached elsewhere is copied. */
async function reopen(source: AnyAttached) {
  if (!source.present) throw new UsageError('nothing_attached', 'the attached file to copy is empty: look at .present first')
  return { content: await source.stream('original'), fileName: source.fileName ?? undefined }
}
