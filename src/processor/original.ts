import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ProcessorInput } from './processor'

/** An original as sharp reads it: the path of a file, or bytes. */
export interface Original {
  readonly source: string | Buffer
  close(): Promise<void>
}

/**
 * An original that lies elsewhere is copied to the system's temporary folder: sharp would hold a stream in memory, to its
 * last byte. An SVG given by path could read the files beside it; given as bytes it cannot.
 */
export async function openOriginal({ contentType, path, open }: ProcessorInput): Promise<Original> {
  if (contentType === 'image/svg+xml') return { source: Buffer.concat(await (await open()).toArray()), close: async () => undefined }
  if (path !== undefined) return { source: await path(), close: async () => undefined }
  const folder = await mkdtemp(join(tmpdir(), 'attachments-'))
  const close = () => rm(folder, { recursive: true, force: true })
  try {
    const copy = join(folder, 'original')
    await writeFile(copy, await open())
    return { source: copy, close }
  } catch (error) {
    await close()
    throw error
  }
}
