import { link, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { inFolderOf, isMissing, type makeFolderOf, syncFolder } from './folders'
import type { Part } from './parts'
import { objectExists } from './refused'

export interface Placing {
  /** Its folder, where it is on its way. */
  readonly folder?: ReturnType<typeof makeFolderOf>
  /** Refuses, with `object_exists`, where something is. Nothing comes in between but on file systems without links. */
  readonly once?: boolean
}

/**
 * Gives a part its place, whatever was there, and makes it survive a power cut: its bytes, its name, and the folders that are new.
 * Bytes are synced under their new name, so that all of that goes into one commit of the file system's journal; but what is there
 * already is never exchanged for bytes that are not safe yet.
 */
export async function putInPlace(path: string, part: Part, { folder, once }: Placing = {}): Promise<void> {
  const place = async (firstNew: string | undefined) => {
    const isNew = await linked(part.path, path, once)
    if (!isNew) {
      await part.sync()
      await rename(part.path, path)
    }
    // one at a time, each would wait for a commit of its own
    const synced = Promise.all([part.sync(), ...foldersUpTo(dirname(firstNew ?? path), dirname(path)).map(syncFolder)])
    await synced.catch(async (error) => {
      // what is not safe was never written
      if (isNew) await unlink(path).catch(() => undefined)
      throw error
    })
  }
  await inFolderOf(path, place, folder)
}

/** Whether a file has a second name now. No where something has that name, and on file systems without links. */
async function linked(from: string, to: string, once = false): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (isMissing(error)) throw error
    if (once && ((error as NodeJS.ErrnoException).code === 'EEXIST' || (await isThere(to)))) throw objectExists(to)
    return false
  }
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function foldersUpTo(top: string, folder: string): string[] {
  return folder.length > top.length ? [folder, ...foldersUpTo(top, dirname(folder))] : [folder]
}
