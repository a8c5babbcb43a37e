import { mkdir, open, rmdir, stat } from 'node:fs/promises'
import { dirname, sep } from 'node:path'

/** Whether there is nothing at that path, or no way to it. */
export function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
}

export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}

/** Begins to make the folder of a file that is to come. Resolves to the first folder that was missing. */
export function makeFolderOf(path: string): Promise<string | undefined> {
  const made = mkdir(dirname(path), { recursive: true })
  // whoever writes the file finds out
  made.catch(() => undefined)
  return made
}

/**
 * Makes in the folder of `path` what `make` makes, which is told the first folder that was missing. Somebody who clears empty
 * folders away may take ours before it is used: then once more.
 */
export async function inFolderOf<T>(
  path: string,
  make: (firstNew: string | undefined) => Promise<T>,
  made = makeFolderOf(path),
  tries = 10,
): Promise<T> {
  try {
    return await make(await made)
  } catch (error) {
    if (isMissing(error) && tries > 1) return inFolderOf(path, make, makeFolderOf(path), tries - 1)
    throw error
  }
}

/** Makes names in a folder survive a power cut. File systems that cannot (Windows) are left alone. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => undefined)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}

/** Removes a folder and those above it, up to `base`, as far as they are empty. */
export async function removeEmptyFolders(path: string, base: string): Promise<void> {
  for (let folder = path; folder.startsWith(base + sep); folder = dirname(folder)) {
    const removed = await rmdir(folder).then(
      () => true,
      (error) => error.code === 'ENOENT',
    )
    if (!removed) return
  }
}
