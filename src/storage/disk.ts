import { createReadStream } from 'node:fs'
import { mkdir, open, stat, unlink } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { Readable } from 'node:stream'
import { messageOf, StorageError } from '../errors'
import { areaFile, areaOf } from './area'
import { isFolder, isMissing, makeFolderOf, removeEmptyFolders } from './folders'
import { partPrefix, removeAbandonedParts, withPart } from './parts'
import { putInPlace } from './place'
import { type Storage, urlBelow } from './storage'
import { walk } from './walk'

export interface DiskStorageOptions {
  /** The folder below which everything lies, on one file system; made when missing. A relative path starts at the working directory. */
  root: string
  /** Where a web server shows that folder, such as `/uploads`. Left out, nothing in it has a URL. */
  publicUrl?: string
}

/**
 * Files below a folder of this machine. A file appears under its key whole, or not at all, and is synced to disk when `write()`
 * returns; until it is whole it is called `.part-…` and lies right below the root. What a killed process leaves of that is removed by
 * `prepare()` after a day. The file `.area` tells machines whether they see the same folder.
 */
export function diskStorage({ root, publicUrl }: DiskStorageOptions): Storage {
  const base = resolve(root)

  function pathOf(key: string): string {
    const path = join(base, key)
    const inside = relative(base, path)
    const outside = inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)
    if (outside || isAbsolute(key) || key.includes('\0')) {
      throw new StorageError('key_outside', `key '${key}' leads out of ${base}`)
    }
    return path
  }

  function placeOf(key: string): string {
    const path = pathOf(key)
    // some file systems take names in any case
    const first = relative(base, path).split(sep)[0]?.toLowerCase()
    if (first?.startsWith(partPrefix)) {
      throw new StorageError('key_reserved', `key '${key}' begins with '${partPrefix}', as unfinished files in ${base} do: choose another`)
    }
    if (first === areaFile)
      throw new StorageError('key_reserved', `key '${key}' is ${join(base, areaFile)}, by which the folder is known: choose another`)
    return path
  }

  return {
    async prepare() {
      await failing(`cannot make the folder ${base}`, mkdir(base, { recursive: true }))
      await failing(`cannot clear up ${base}`, removeAbandonedParts(base))
    },

    async write(key, body, { once }) {
      try {
        const path = placeOf(key)
        // a stream may take its time, and a process that is killed meanwhile would leave an empty folder
        const folder = body instanceof Readable ? undefined : makeFolderOf(path)
        const written = withPart(base, body, (part) => putInPlace(path, part, { folder, once }))
        await failing(`cannot write ${path}`, written).catch(async (error) => {
          await folder?.catch(() => undefined)
          await removeEmptyFolders(dirname(path), base)
          throw error
        })
      } finally {
        if (body instanceof Readable) body.destroy()
      }
    },

    async read(key, { length = Number.POSITIVE_INFINITY } = {}) {
      const path = pathOf(key)
      const file = await open(path).catch((error) => {
        if (isMissing(error)) return undefined
        throw asStorageError(`cannot read ${path}`, error)
      })
      const found = await file?.stat().catch(() => undefined)
      if (file && found?.isFile()) return createReadStream(path, { fd: file, end: length - 1, highWaterMark: 256 * 1024 })
      await file?.close()
      throw new StorageError('object_missing', `there is no file ${path}`)
    },

    async stat(key) {
      const path = pathOf(key)
      const found = await stat(path).catch((error) => {
        if (isMissing(error)) return undefined
        throw asStorageError(`cannot look at ${path}`, error)
      })
      return found?.isFile() ? { size: found.size } : undefined
    },

    async delete(keys) {
      for (const path of keys.map(pathOf)) {
        await unlink(path).catch(async (error) => {
          if (!isMissing(error) && !(await isFolder(path))) throw asStorageError(`cannot delete ${path}`, error)
        })
        await removeEmptyFolders(dirname(path), base)
      }
    },

    async *list(prefix) {
      const above = prefix.slice(0, prefix.lastIndexOf('/') + 1)
      const folder = above === '' ? base : pathOf(above)
      // no key is spelt with '.', '..' or nothing between two slashes
      if (above !== '' && above !== `${relative(base, folder).split(sep).join('/')}/`) return
      try {
        for await (const found of walk(folder, above, prefix.slice(above.length))) if (found.key !== areaFile) yield found
      } catch (error) {
        throw asStorageError(`cannot list ${folder}`, error)
      }
    },

    url: (key) => (publicUrl === undefined ? null : urlBelow(publicUrl, key)),
    area: async () => ({ id: await failing(`cannot tell which folder ${base} is`, areaOf(base)), where: base }),
    localPath: pathOf,
  }
}

async function failing<T>(what: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    throw asStorageError(what, error)
  })
}

/** Errors of the source that is being read are nobody's business here: they pass as they are. */
function asStorageError(what: string, error: unknown): unknown {
  const fromDisk = typeof error === 'object' && error !== null && 'syscall' in error
  return fromDisk ? new StorageError('disk_failed', `${what}: ${messageOf(error)}`, { cause: error }) : error
}
