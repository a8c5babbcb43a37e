import type { Definition } from '../definition/definition'
import { RefusedFileError } from '../errors'
import { accepts, contentTypeOf } from '../file/content-type'
import type { ProcessorInput } from '../processor/processor'

/** What is known of a file by its beginning. */
export interface Beginning {
  /** The first 64 KiB. */
  readonly head: Buffer
  readonly fileName: string
  /** What the developer says it is. */
  readonly hint?: string
  /** Whether it is known to end too early. */
  readonly cutShort?: boolean
}

/** What a file was found to be. */
export interface Identity {
  readonly contentType: string
  /** Pixels, where they mean something. */
  readonly width?: number
  readonly height?: number
}

/**
 * Tells what a file is by its bytes. Rejects with a `RefusedFileError` where its attachment does not take that.
 *
 * @param input the whole, for a processor that has to look further
 */
export async function identify(
  { head, fileName, hint, cutShort }: Beginning,
  { accept, entity, property, processor }: Definition,
  input: (contentType: string) => ProcessorInput,
): Promise<Identity> {
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
