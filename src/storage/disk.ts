import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { Readable } from 'node:stream'
import { messageOf, StorageError } from '../errors'
import { type Storage, urlBelow } from './storage'

export interface DiskStorageOptions {
  /** The folder below which everything lies; made when missing. A relative path starts at the working directory. */
  root: string
  /** Where a web server shows that folder, such as `/uploads`. Left out, nothing in it has a URL. */
  publicUrl?: string
}

/** Files below a folder of this machine. A file appears under its key whole and synced to disk, or not at all. */
export function diskStorage({ root, publicUrl }: DiskStorageOptions): Storage {
  const base = resolve(root)

  function pathOf(key: string): string {
    const path = join(base, key)
    const inside = relative(base, path)
    if (inside === '' || inside.startsWith('..') || isAbsolute(inside) || key.includes('\0')) {
      throw new StorageError('key_outside', `key '${key}' leads out of ${base}`)
    }
    return path
  }

  return {
    async prepare() {
      await failing(`cannot make the folder ${base}`, mkdir(base, { recursive: true }))
    },

    async write(key, body) {
      const path = pathOf(key)
      const temporary = join(dirname(path), `.${randomUUID()}.part`)
      try {
        const file = await createIn(temporary)
        try {
          await fill(file, body)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(temporary, path)
        await syncFolder(dirname(path))
      } catch (error) {
        if (body instanceof Readable) body.destroy()
        await rm(temporary, { force: true }).catch(() => undefined)
        await removeEmptyFolders(dirname(path), base)
        throw asStorageError(`cannot write ${path}`, error)
      }
    },

    async read(key) {
      const path = pathOf(key)
      const file = await open(path).catch((error) => {
        if (error.code === 'ENOENT') throw new StorageError('object_missing', `there is no file ${path}`, { cause: error })
        throw asStorageError(`cannot read ${path}`, error)
      })
      return createReadStream(path, { fd: file, highWaterMark: 256 * 1024 })
    },

    async stat(key) {
      const path = pathOf(key)
      const found = await stat(path).catch((error) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
        throw asStorageError(`cannot look at ${path}`, error)
      })
      return found?.isFile() ? { size: found.size } : undefined
    },

    async delete(keys) {
      for (const path of keys.map(pathOf)) {
        await failing(`cannot delete ${path}`, rm(path, { force: true }))
        await removeEmptyFolders(dirname(path), base)
      }
    },

    url: (key) => (publicUrl === undefined ? null : urlBelow(publicUrl, key)),
    localPath: pathOf,
  }
}

/** A new file. Somebody who clears empty folders away may take ours between its making and its use: then once more. */
async function createIn(path: string, tries = 5): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true })
  return open(path, 'wx').catch((error) => {
    if (error.code === 'ENOENT' && tries > 1) return createIn(path, tries - 1)
    throw error
  })
}

async function fill(file: FileHandle, body: Readable | Uint8Array): Promise<void> {
  for await (const chunk of body instanceof Readable ? body : [body]) {
    await file.writeFile(chunk)
  }
}

/** Makes the new name itself survive a power cut; file systems that cannot (Windows) are left alone. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => undefined)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}

async function removeEmptyFolders(path: string, base: string): Promise<void> {
  for (let folder = path; folder.startsWith(base + sep); folder = dirname(folder)) {
    const removed = await rmdir(folder).then(
      () => true,
      (error) => error.code === 'ENOENT',
    )
    if (!removed) return
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
