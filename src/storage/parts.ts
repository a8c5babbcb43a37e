import { randomUUID } from 'node:crypto'
import { open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { inFolderOf, removeEmptyFolders } from './folders'
import { walk } from './walk'

/** Below the root, and so on its file system: a rename brings a part to its place at once. */
export const partsFolder = '.parts'

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
  const path = join(base, partsFolder, randomUUID())
  try {
    const file = await inFolderOf(path, () => open(path, 'wx'))
    try {
      for await (const chunk of body instanceof Readable ? body : [body]) await file.writeFile(chunk)
      await use({ path, sync: () => file.sync() })
    } finally {
      await file.close()
    }
  } finally {
    await removePart(path, base)
  }
}

/** Nothing depends on this: what stays is found by the next sweep. */
async function removePart(part: string, base: string): Promise<void> {
  await unlink(part).catch(() => undefined)
  await removeEmptyFolders(join(base, partsFolder), base)
}

export async function removeAbandonedParts(base: string): Promise<void> {
  const folder = join(base, partsFolder)
  for await (const { key, modified } of walk(folder)) {
    if (modified.getTime() < Date.now() - abandoned) await removePart(join(folder, key), base)
  }
}
