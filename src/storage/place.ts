import { link, rename } from 'node:fs/promises'
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
    if (!(await linked(part.path, path))) {
      await part.sync()
      await rename(part.path, path)
    }
    await Promise.all([part.sync(), syncFolders(dirname(firstNew ?? path), dirname(path))])
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

/** One after the other: Node has four threads for all that waits for a disk. */
async function syncFolders(top: string, folder: string): Promise<void> {
  await syncFolder(folder)
  if (folder.length > top.length) await syncFolders(top, dirname(folder))
}
