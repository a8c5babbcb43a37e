import { buffer } from 'node:stream/consumers'
import type { Definition } from '../definition/definition'
import { RefusedFileError } from '../errors'
import { headLength } from '../file/measure'
import type { ObjectFacts, Storage } from '../storage/storage'
import { type Identity, identify } from './identify'
import { inputFrom } from './input'

/**
 * Looks at what somebody else has put into the staging: no byte of it was seen on its way. Where it is not what was promised, or its
 * attachment does not take it, it is deleted, and this rejects with a `RefusedFileError`.
 */
export async function lookAt(
  key: string,
  promised: { readonly fileName: string; readonly size: number; readonly hint?: string },
  { size, etag }: ObjectFacts,
  definition: Definition,
  staging: Storage,
): Promise<Identity> {
  const { fileName, hint } = promised
  try {
    if (size !== promised.size) {
      throw new RefusedFileError('size_mismatch', `'${fileName}' should have ${promised.size} bytes, and ${size} were uploaded: upload it again`)
    }
    const head = await buffer(await staging.read(key, { etag, length: headLength }))
    return await identify({ head, fileName, hint }, definition, (contentType) => inputFrom(staging, key, contentType, { etag }))
  } catch (error) {
    if (error instanceof RefusedFileError) await staging.delete([key]).catch(() => undefined)
    throw error
  }
}
