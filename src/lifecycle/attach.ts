import { type AnyAttached, Attached } from '../attachment/attached'
import { type AttachmentRecord, newVersion } from '../attachment/record'
import type { Definition } from '../definition/definition'
import { UsageError } from '../errors'
import { cleanFileName } from '../file/file-name'
import { measured } from '../file/measure'
import { letGo, openSource, type Source } from '../file/source'
import type { Storage } from '../storage/storage'
import { makeAtOnce } from './at-once'
import { stagedHere } from './elsewhere'
import { identify } from './identify'
import { inputFrom } from './input'
import { columnsOf, stagedOriginal, wantedOf } from './staged'

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
  const original = stagedOriginal(entityName, definition.property, version)
  let written = Promise.resolve()
  try {
    const fileName = checkedName(options.fileName ?? opened.fileName ?? '')
    const { body, size, facts } = measured(opened.content, definition)
    written = staging.write(original, body, { contentType: 'application/octet-stream', size })
    // while the last bytes are brought to the disk it is told what they are
    const identified = facts.then(({ head, cutShort }) =>
      identify({ head, cutShort, fileName, hint: options.contentType }, definition, (contentType) =>
        inputFrom(staging, original, contentType, { there: written }),
      ),
    )
    const area = facts.then(() => stagedHere(staging))
    for (const ahead of [identified, area]) ahead.catch(() => undefined)
    await written
    const { size: fileSize, fingerprint } = await facts
    const file = { ...(await identified), entity: entityName, version, fileName, size: fileSize, fingerprint }
    return await makeAtOnce(columnsOf(file, wantedOf(file, definition, owner), definition, await area), definition, staging)
  } catch (error) {
    letGo(opened.content)
    await written.catch(() => undefined)
    await staging.delete([original]).catch(() => undefined)
    throw error
  }
}

/** A name that somebody gave, made harmless. Throws a `UsageError` for what is none. */
export function checkedName(name: unknown): string {
  if (typeof name === 'string') return cleanFileName(name)
  throw new UsageError(
    'bad_file_name',
    `a file name must be a string, and this is ${JSON.stringify(name)}: take one name where a request sent several`,
  )
}

/** A file that is attached elsewhere is copied. */
async function reopen(source: AnyAttached) {
  if (!source.present) throw new UsageError('nothing_attached', 'the attached file to copy is empty: look at .present first')
  return { content: await source.stream('original'), fileName: source.fileName ?? undefined }
}
