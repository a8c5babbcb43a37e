import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, rmdir, stat, unlink } from 'node:fs/promises'
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
    const outside = inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)
    if (outside || isAbsolute(key) || key.includes('\0')) {
      throw new StorageError('key_outside', `key '${key}' leads out of ${base}`)
    }
    return path
  }

  return {
    async prepare() {
      await failing(`cannot make the folder ${base}`, mkdir(base, { recursive: true }))
    },

    async write(key, body) {
      let written: { path: string; temporary: string } | undefined
      try {
        const path = pathOf(key)
        written = { path, temporary: join(dirname(path), `.${randomUUID()}.part`) }
        await fill(await createIn(written.temporary), body)
        await rename(written.temporary, path)
        await syncFolder(dirname(path))
      } catch (error) {
        if (body instanceof Readable) body.destroy()
        if (!written) throw error
        await rm(written.temporary, { force: true }).catch(() => undefined)
        await removeEmptyFolders(dirname(written.path), base)
        throw asStorageError(`cannot write ${written.path}`, error)
      }
    },

    async read(key) {
      const path = pathOf(key)
      const file = await open(path).catch((error) => {
        if (isMissing(error)) return undefined
        throw asStorageError(`cannot read ${path}`, error)
      })
      if (file && (await file.stat()).isFile()) return createReadStream(path, { fd: file, highWaterMark: 256 * 1024 })
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

    url: (key) => (publicUrl === undefined ? null : urlBelow(publicUrl, key)),
    localPath: pathOf,
  }
}

/** A new file. Somebody who clears empty folders away may take ours while it is made, or before it is used: then once more. */
async function createIn(path: string, tries = 5): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true })
    return await open(path, 'wx')
  } catch (error) {
    if (isMissing(error) && tries > 1) return createIn(path, tries - 1)
    throw error
  }
}

async function fill(file: FileHandle, body: Readable | Uint8Array): Promise<void> {
  try {
    for await (const chunk of body instanceof Readable ? body : [body]) await file.writeFile(chunk)
    await file.sync()
  } finally {
    await file.close()
  }
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
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
