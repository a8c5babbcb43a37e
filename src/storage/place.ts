import { link, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { inFolderOf, isMissing, type makeFolderOf, syncFolder } from './folders'
import type { Part } from './parts'

/**
 * Gives a part its place, whatever was there, and makes it survive a power cut: its bytes, its name, and the folders that are new.
 * Bytes are synced under their new name, so that all of that goes into one commit of the file system's journal; but what is there
 * already is never exchanged for bytes that are not safe yet.
 *
 * @param folder its folder, where it is on its way
 */
export async function putInPlace(path: string, part: Part, folder?: ReturnType<typeof makeFolderOf>): Promise<void> {
  const place = async (firstNew: string | undefined) => {
    const isNew = await linked(part.path, path)
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
function linked(from: string, to: string): Promise<boolean> {
  return link(from, to).then(
    () => true,
    (error) => {
      if (isMissing(error)) throw error
      return false
    },
  )
}

function foldersUpTo(top: string, folder: string): string[] {
  return folder.length > top.length ? [folder, ...foldersUpTo(top, dirname(folder))] : [folder]
}
