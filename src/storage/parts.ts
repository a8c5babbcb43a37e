import { randomUUID } from 'node:crypto'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { inFolderOf, isMissing } from './folders'
import { walk } from './walk'

/** How the names of parts begin. They lie right below the root, and so on its file system, and need no folder to be made first. */
export const partPrefix = '.part-'

/** What nobody wrote to for so long belongs to a process that was killed. Milliseconds. */
const abandoned = 24 * 3600_000

/** A file that is written, and has no place yet. */
export interface Part {
  readonly path: string
  /** Brings its bytes to the disk, wherever it has its place by then. */
  sync(): Promise<void>
}

/** Writes a body, hands it over as a part, and leaves nothing there, whatever happens. */
export async function withPart(base: string, body: Readable | Uint8Array, use: (part: Part) => Promise<void>): Promise<void> {
  const path = join(base, `${partPrefix}${randomUUID()}`)
  try {
    const file = await opened(path)
    try {
      for await (const chunk of body instanceof Readable ? body : [body]) await file.writeFile(chunk)
      await use({ path, sync: () => file.sync() })
    } finally {
      await file.close()
    }
  } finally {
    await removePart(path)
  }
}

/** The root is there, unless somebody has taken it away. */
function opened(path: string): Promise<FileHandle> {
  return open(path, 'wx').catch((error) => {
    if (isMissing(error)) return inFolderOf(path, () => open(path, 'wx'))
    throw error
  })
}

/** Nothing depends on this: what stays is found by the next sweep. */
async function removePart(path: string): Promise<void> {
  await unlink(path).catch(() => undefined)
}

export async function removeAbandonedParts(base: string): Promise<void> {
  for await (const { key, modified } of walk(base, '', partPrefix)) {
    if (modified.getTime() < Date.now() - abandoned) await removePart(join(base, key))
  }
}
