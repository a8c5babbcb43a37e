import { randomUUID } from 'node:crypto'
import { link, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing } from './folders'
import { withPart } from './parts'

/** Holds a folder's id: machines that read the same share the folder, whatever path each of them has to it. */
export const areaFile = '.area'

/**
 * The id of a folder, made by whoever asks first. Of several who make one at a time, one wins: a link never replaces a file.
 * A folder that is not there has none.
 */
export async function areaOf(base: string): Promise<string> {
  const path = join(base, areaFile)
  const known = await readFile(path, 'utf8').catch((error) => {
    if (!isMissing(error)) throw error
  })
  if (known) return known
  await stat(base)
  await withPart(base, Buffer.from(randomUUID()), async (part) => {
    await part.sync()
    await link(part.path, path).catch((error) => {
      if (error.code !== 'EEXIST') throw error
    })
  })
  return readFile(path, 'utf8')
}
