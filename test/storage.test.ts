import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { diskStorage, memoryStorage, type Storage, StorageError, type StoredObject } from '../src'
import { putInPlace } from '../src/storage/place'
import { bytes, digest, MB, stored, streamOf } from '../src/testing/bodies'
import { storageContract } from '../src/testing/testing'
import { killWhen } from '../src/testing/victim'
import { contract, elsewhere } from './support/contract'
import { filesIn, folder } from './support/world'

const info = { contentType: 'application/octet-stream' }

const makeDisk = async () => {
  const { storage, root } = await disk()
  process.env['CONTRACT_ROOT'] = root
  return storage
}

contract(
  'memoryStorage',
  storageContract(async () => memoryStorage()),
)
contract('diskStorage', storageContract(makeDisk, elsewhere('disk')))

async function disk(options: { publicUrl?: string } = {}) {
  const around = await folder()
  const root = join(around, 'root')
  const storage = diskStorage({ root, ...options })
  await storage.prepare?.()
  return { storage, root, around }
}

const list = (storage: Storage, prefix = ''): Promise<StoredObject[]> => Readable.from(storage.list?.(prefix) ?? []).toArray()

async function listed(storage: Storage, prefix?: string): Promise<string[]> {
  return (await list(storage, prefix)).map(({ key }) => key).sort()
}

/** Puts an empty file at a path and makes it so many hours old. */
async function fileOfAge(path: string, hours: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, '')
  const then = Date.now() / 1000 - hours * 3600
  await utimes(path, then, then)
}

describe.each<[string, () => Promise<Storage>]>([
  ['memoryStorage', async () => memoryStorage()],
  ['diskStorage', async () => (await disk()).storage],
])('%s', (_, make) => {
  it('lets one of many write once, however many try at a time', async () => {
    const storage = await make()
    const bodies = Array.from({ length: 20 }, (_, number) => bytes(100_000 + number))
    const tried = bodies.map((body, number) => storage.write('a/b', number % 2 ? body : streamOf(body), { ...info, once: true }))
    const ended = await Promise.allSettled(tried)
    const codes = ended.map((end) => (end.status === 'rejected' ? end.reason.code : 'written'))
    expect(codes.toSorted()).toEqual([...Array.from({ length: 19 }, () => 'object_exists'), 'written'])
    expect(await stored(storage, 'a/b')).toBe(digest(bodies[codes.indexOf('written')] as Buffer))
  })
})

describe('memoryStorage', () => {
  it('shows tests what it holds', async () => {
    const storage = memoryStorage()
    await storage.write('a', Buffer.from('x'), { contentType: 'text/plain', fileName: 'x.txt' })
    const info = { contentType: 'text/plain', fileName: 'x.txt' }
    expect(storage.objects.get('a')).toEqual({ body: Buffer.from('x'), info, modified: expect.any(Date) })
  })

  it('has addresses only below a public URL', () => {
    expect(memoryStorage().url('a/b')).toBeNull()
    expect(memoryStorage({ publicUrl: 'https://files.test/' }).url('a b/ü.png')).toBe('https://files.test/a%20b/%C3%BC.png')
  })
})

describe('diskStorage', () => {
  it('makes its folder when it is prepared', async () => {
    const { root } = await disk()
    expect(existsSync(root)).toBe(true)
  })

  it('says so when its folder cannot be made', async () => {
    const around = await folder()
    await writeFile(join(around, 'file'), '')
    const preparing = diskStorage({ root: join(around, 'file', 'root') }).prepare?.()
    await expect(preparing).rejects.toMatchObject({ code: 'disk_failed', message: expect.stringContaining(join(around, 'file', 'root')) })
  })

  it('leaves no temporary files behind, whether a write succeeds or fails', async () => {
    const { storage, root } = await disk()
    await storage.write('a/kept', bytes(1_000), info)
    await Promise.all([
      storage.write('a/kept', streamOf(bytes(200_000)), info),
      storage.write('a/kept', streamOf(bytes(200_000), new Error('broken')), info).catch(() => undefined),
      storage.write('a/failed', streamOf(bytes(200_000), new Error('broken')), info).catch(() => undefined),
    ])
    expect(await filesIn(root)).toEqual(['a', 'a/kept'])
  })

  it('shows unfinished files to whoever lists them', async () => {
    const { storage, root } = await disk()
    const source = new PassThrough()
    const written = storage.write('a/b', source, info)
    source.write(bytes(1_000))
    await expect.poll(async () => (await list(storage, '.part-'))[0]?.size).toBe(1_000)
    expect(await filesIn(root)).toEqual([expect.stringMatching(/^\.part-[0-9a-f-]{36}$/)])
    expect(await storage.stat('a/b')).toBeUndefined()
    source.end()
    await written
    expect(await filesIn(root)).toEqual(['a', 'a/b'])
  })

  it('shows what a process that was killed left unfinished, and lets it be deleted', async () => {
    const { storage, root } = await disk()
    process.env['CONTRACT_ROOT'] = root
    await killWhen(elsewhere('disk'), { do: 'write', key: 'a/b', stop: 'half-way through' }, 'stopped')
    const left = await list(storage)
    expect(left).toEqual([{ key: expect.stringMatching(/^\.part-/), size: expect.any(Number), modified: expect.any(Date) }])
    expect(left[0]?.size).toBeGreaterThan(MB)
    await storage.delete(left.map(({ key }) => key))
    expect(await filesIn(root)).toEqual([])
  })

  it('says so when an unfinished file was swept away, and leaves nothing', async () => {
    const { storage, root } = await disk()
    const source = new PassThrough()
    const written = storage.write('a/b', source, info)
    await expect.poll(() => listed(storage)).toHaveLength(1)
    await storage.delete(await listed(storage, '.part-'))
    source.end()
    await expect(written).rejects.toMatchObject({ name: 'StorageError', code: 'disk_failed' })
    expect(await filesIn(root)).toEqual([])
  })

  it('leaves nothing under a new name where the disk does not take the bytes', async () => {
    const root = await folder()
    const part = join(root, '.part-x')
    await writeFile(part, 'x')
    const sync = () => Promise.reject(new Error('input/output error'))
    await expect(putInPlace(join(root, 'a/b'), { path: part, sync })).rejects.toThrow('input/output error')
    expect(await filesIn(root)).toEqual(['.part-x', 'a'])
  })

  it('leaves no more than what was there, when somebody may write it once', async () => {
    const { storage, root } = await disk()
    await storage.write('a/b', bytes(10), info)
    const refused = storage.write('a/b', streamOf(bytes(100_000)), { ...info, once: true })
    await expect(refused).rejects.toMatchObject({ code: 'object_exists', retryable: false, message: expect.stringContaining(join(root, 'a/b')) })
    expect(await filesIn(root)).toEqual(['a', 'a/b'])
  })

  it('clears away, when it is prepared, what nobody has written to for a day', async () => {
    const { storage, root } = await disk()
    await fileOfAge(join(root, '.part-old'), 25)
    await fileOfAge(join(root, '.part-young'), 23)
    await fileOfAge(join(root, 'a', 'old'), 25)
    await storage.prepare?.()
    expect(await listed(storage)).toEqual(['.part-young', 'a/old'])
    await fileOfAge(join(root, '.part-young'), 25)
    await storage.prepare?.()
    expect(await filesIn(root)).toEqual(['a', 'a/old'])
  })

  it.each(['.part-', '.part-x', '.PART-x/y', 'a/../.part-x'])('keeps the names of unfinished files to itself: %s', async (key) => {
    const { storage, root } = await disk()
    const source = streamOf(bytes(10))
    await expect(storage.write(key, source, info)).rejects.toMatchObject({ name: 'StorageError', code: 'key_reserved' })
    expect(source.destroyed).toBe(true)
    expect(await filesIn(root)).toEqual([])
  })

  it.each(['.area', '.area/x', '.AREA', 'a/../.area'])('keeps the mark of its folder to itself: %s', async (key) => {
    const { storage, root } = await disk()
    await expect(storage.write(key, bytes(10), info)).rejects.toMatchObject({ name: 'StorageError', code: 'key_reserved' })
    expect(await readdir(root)).toEqual([])
  })

  it('knows its folder by a mark that all who see it agree on, and that no listing shows', async () => {
    const { root, around } = await disk()
    const same = join(around, 'same')
    await symlink(root, same)
    // not all in step: some come when others have read that there is none
    const asked = Array.from({ length: 200 }, async (_, number) => {
      for (let wait = 0; wait < number; wait++) await setImmediate()
      return diskStorage({ root: number % 2 ? root : same }).area?.()
    })
    const areas = await Promise.all(asked)
    expect(new Set(areas.map((area) => area?.id)).size).toBe(1)
    expect(new Set(areas.map((area) => area?.where))).toEqual(new Set([root, same]))
    expect(await readdir(root)).toEqual(['.area'])
    const storage = diskStorage({ root })
    await storage.write('a', bytes(10), info)
    expect([await listed(storage), await listed(storage, '.')]).toEqual([['a'], []])
    await storage.delete(['a'])
    expect(await storage.area?.()).toEqual({ id: areas[0]?.id, where: root })
  })

  it('knows another folder as another, and makes none in order to know it', async () => {
    const [one, other] = [await disk(), await disk()]
    expect((await one.storage.area?.())?.id).not.toBe((await other.storage.area?.())?.id)
    const away = join(one.around, 'away')
    await expect(diskStorage({ root: away }).area?.()).rejects.toMatchObject({ code: 'disk_failed', message: expect.stringContaining(away) })
    expect(existsSync(away)).toBe(false)
  })

  it('removes the folders that a failed write made, and not the root', async () => {
    const { storage, root } = await disk()
    await expect(storage.write('a/b/c', streamOf(bytes(10), new Error('broken')), info)).rejects.toThrow('broken')
    expect(await filesIn(root)).toEqual([])
    expect(existsSync(root)).toBe(true)
  })

  it('removes the folders that a deletion empties, and neither others nor the root', async () => {
    const { storage, root } = await disk()
    for (const key of ['a/b/c/1', 'a/b/c/2', 'a/d/3', 'e/4']) await storage.write(key, bytes(10), info)
    await storage.delete(['a/b/c/1'])
    expect(await filesIn(root)).toEqual(['a', 'a/b', 'a/b/c', 'a/b/c/2', 'a/d', 'a/d/3', 'e', 'e/4'])
    await storage.delete(['a/b/c/2', 'e/4'])
    expect(await filesIn(root)).toEqual(['a', 'a/d', 'a/d/3'])
    await storage.delete(['a/d/3'])
    expect(await filesIn(root)).toEqual([])
    expect(existsSync(root)).toBe(true)
  })

  const outside = ['../x', '../root-of-another/x', 'a/../../x', '../../../../../../etc/x', '..', '.', '', 'a/..', 'a/\0x', '\0']

  it.each(outside)('refuses the key %j and touches nothing', async (key) => {
    const { storage, around } = await disk()
    await mkdir(join(around, 'root-of-another'))
    await writeFile(join(around, 'x'), 'theirs')
    await writeFile(join(around, 'root-of-another', 'x'), 'theirs')
    const before = await filesIn(around)
    const attempts: Record<string, () => Promise<unknown>> = {
      write: () => storage.write(key, Buffer.from('ours'), info),
      read: () => storage.read(key),
      stat: () => storage.stat(key),
      delete: () => storage.delete(['a', key]),
      list: () => (key === '' ? storage.stat(key) : listed(storage, `${key}/`)),
      localPath: async () => storage.localPath?.(key),
    }
    for (const [name, attempt] of Object.entries(attempts)) {
      await expect(attempt(), name).rejects.toMatchObject({ name: 'StorageError', code: 'key_outside' })
    }
    expect(await filesIn(around)).toEqual(before)
    expect(await readFile(join(around, 'x'), 'utf8')).toBe('theirs')
    expect(await readFile(join(around, 'root-of-another', 'x'), 'utf8')).toBe('theirs')
  })

  it('deletes nothing when one of the keys leads outside', async () => {
    const { storage } = await disk()
    await storage.write('a', bytes(10), info)
    await expect(storage.delete(['a', '../x'])).rejects.toMatchObject({ code: 'key_outside' })
    expect(await storage.stat('a')).toMatchObject({ size: 10 })
  })

  it('destroys a source whose key leads outside', async () => {
    const { storage } = await disk()
    const source = streamOf(bytes(10))
    await expect(storage.write('../x', source, info)).rejects.toMatchObject({ code: 'key_outside' })
    expect(source.destroyed).toBe(true)
  })

  it('refuses absolute paths', async () => {
    const { storage, root } = await disk()
    await expect(storage.write('/etc/x', bytes(10), info)).rejects.toMatchObject({ code: 'key_outside' })
    await expect(storage.write(join(root, 'x'), bytes(10), info)).rejects.toMatchObject({ code: 'key_outside' })
    expect(await filesIn(root)).toEqual([])
  })

  it('takes names that only begin with two dots', async () => {
    const { storage } = await disk()
    await storage.write('..a/..b', bytes(10), info)
    expect(await stored(storage, '..a/..b')).toBe(digest(bytes(10)))
  })

  it('takes names as long as the file system does', async () => {
    const { storage, root } = await disk()
    const name = `${'n'.repeat(251)}.jpg`
    await writeFile(join(root, name), 'the file system does')
    await storage.write(name, bytes(10), info)
    expect(await stored(storage, name)).toBe(digest(bytes(10)))
  })

  it.each([
    ['a folder', 'a'],
    ['below a file', 'a/b/c/d'],
  ])('says so when the place of a file is %s, and leaves everything as it was', async (_, key) => {
    const { storage, root } = await disk()
    await storage.write('a/b', bytes(10), info)
    const source = streamOf(bytes(10))
    const error = await storage.write(key, source, info).catch((error) => error)
    expect(error).toBeInstanceOf(StorageError)
    expect(error).toMatchObject({ code: 'disk_failed', retryable: true, message: expect.stringContaining(join(root, key)) })
    expect(source.destroyed).toBe(true)
    expect(await filesIn(root)).toEqual(['a', 'a/b'])
    expect(await stored(storage, 'a/b')).toBe(digest(bytes(10)))
  })

  it('has addresses only below a public URL', async () => {
    expect((await disk()).storage.url('a/b')).toBeNull()
    for (const publicUrl of ['/uploads', '/uploads/']) {
      const { url } = (await disk({ publicUrl })).storage
      expect(url('a b/100%/c#d?e&f+g/ü"<>.png')).toBe('/uploads/a%20b/100%25/c%23d%3Fe%26f%2Bg/%C3%BC%22%3C%3E.png')
    }
  })

  it('tells where on the disk an object is', async () => {
    const { storage, root } = await disk()
    await storage.write('a/b c.txt', bytes(10), info)
    expect(storage.localPath?.('a/b c.txt')).toBe(join(root, 'a/b c.txt'))
    expect(digest(await readFile(storage.localPath?.('a/b c.txt') as string))).toBe(digest(bytes(10)))
  })

  it('goes on reading a file that is replaced or deleted meanwhile', async () => {
    const { storage } = await disk()
    await storage.write('a', bytes(1_000_000, 1), info)
    await storage.write('b', bytes(1_000_000, 2), info)
    const reading = [await storage.read('a'), await storage.read('b')]
    await storage.write('a', bytes(10), info)
    await storage.delete(['b'])
    const read = await Promise.all(reading.map((stream) => buffer(stream)))
    expect(read.map(digest)).toEqual([digest(bytes(1_000_000, 1)), digest(bytes(1_000_000, 2))])
  })

  it.skipIf(!existsSync('/proc/self/fd'))('closes every file that it opens', async () => {
    const { storage } = await disk()
    const opened = async () => (await readdir('/proc/self/fd')).length
    // what is forgotten may be closed by the garbage collector before it is counted: Node warns of that
    const forgotten: string[] = []
    const listen = ({ message }: Error) => /garbage collection/.test(message) && forgotten.push(message)
    process.on('warning', listen)
    onTestFinished(() => void process.off('warning', listen))
    const round = async (number: number) => {
      await storage.write(`a/${number}`, bytes(100_000), info)
      await storage.write(`a/${number}`, streamOf(bytes(100_000), new Error('broken')), info).catch(() => undefined)
      await storage.write(`a/${number}/below`, bytes(10), info).catch(() => undefined)
      await buffer(await storage.read(`a/${number}`))
      for await (const _ of await storage.read(`a/${number}`)) break
      await storage.read(`a/never-${number}`).catch(() => undefined)
    }
    await round(0)
    const before = await opened()
    for (let number = 1; number <= 200; number++) await round(number)
    await expect.poll(opened).toBeLessThan(before + 20)
    expect(forgotten).toEqual([])
  })

  it('writes into folders that deletions clear away at the same time', async () => {
    const { storage, root } = await disk()
    const come = async (writer: number) => {
      for (let number = 0; number < 50; number++) {
        const key = `a/b/c/${writer}-${number}`
        await storage.write(key, bytes(100, writer), info)
        expect(await stored(storage, key)).toBe(digest(bytes(100, writer)))
        await storage.delete([key])
      }
    }
    await Promise.all([1, 2, 3, 4].map(come))
    expect(await filesIn(root)).toEqual([])
  })

  it('writes many files at once', async () => {
    const { storage, root } = await disk()
    const keys = Array.from({ length: 200 }, (_, number) => `${number}`)
    await Promise.all(keys.map((key) => storage.write(key, bytes(10), info)))
    expect(await filesIn(root)).toEqual(keys.sort())
  })

  describe('listing', () => {
    it('finds nothing where its folder is missing, or a file is in the way', async () => {
      const { storage, root } = await disk()
      await storage.write('a', bytes(10), info)
      expect(await listed(storage, 'a/')).toEqual([])
      expect(await listed(storage, 'never/')).toEqual([])
      await rm(root, { recursive: true })
      expect(await listed(storage)).toEqual([])
    })

    it.each(['a//', './a/', 'a/./', 'a/../a/'])('finds nothing below %s, with which no key begins', async (prefix) => {
      const { storage } = await disk()
      await storage.write('a/b', bytes(10), info)
      expect(await listed(storage, prefix)).toEqual([])
    })

    it('tells when a file was written', async () => {
      const { storage, root } = await disk()
      await fileOfAge(join(root, 'a'), 48)
      const [found] = await list(storage)
      expect(Math.abs((found?.modified.getTime() ?? 0) - (Date.now() - 48 * 3600_000))).toBeLessThan(60_000)
    })

    it.skipIf(!existsSync('/proc/self/fd'))('reads a few names at a time, and lets go of the folder when nobody wants more', async () => {
      const { storage, root } = await disk()
      await mkdir(join(root, 'a'))
      await Promise.all(Array.from({ length: 300 }, (_, number) => writeFile(join(root, 'a', `${number}`), '')))
      const opened = async () => {
        const links = (await readdir('/proc/self/fd')).map((name) => readlink(join('/proc/self/fd', name)).catch(() => ''))
        return (await Promise.all(links)).filter((path) => path.startsWith(root))
      }
      for await (const _ of storage.list?.('a/') ?? []) {
        expect(await opened()).toEqual([join(root, 'a')])
        break
      }
      await expect.poll(opened).toEqual([])
    })

    it('does not mind that files and folders vanish meanwhile', async () => {
      const { storage, root } = await disk()
      for (const folder of ['a', 'b', 'c']) await mkdir(join(root, folder))
      await Promise.all(Array.from({ length: 900 }, (_, number) => writeFile(join(root, 'abc'.charAt(number % 3), `${number}`), '')))
      const found: string[] = []
      for await (const { key } of storage.list?.('') ?? []) {
        if (found.push(key) === 1) for (const folder of ['a', 'b', 'c']) await rm(join(root, folder), { recursive: true })
      }
      expect(found.length).toBeLessThan(100)
    })

    it('looks only where something can begin with the prefix', async () => {
      const { storage, root } = await disk()
      for (const key of ['a/b', 'a/bc/d/e', 'a/c/f', 'g/h']) await storage.write(key, bytes(10), info)
      // a link to itself cannot be looked at
      for (const trap of ['trap', 'a/trap', 'a/c/trap', 'g/trap']) await symlink('trap', join(root, trap))
      expect(await listed(storage, 'a/b')).toEqual(['a/b', 'a/bc/d/e'])
      expect(await listed(storage, 'a/bc/')).toEqual(['a/bc/d/e'])
      await expect(listed(storage, 'a/')).rejects.toMatchObject({ name: 'StorageError', code: 'disk_failed' })
    })

    it('follows links to files and not to folders, which may lead round in circles', async () => {
      const { storage, root } = await disk()
      await storage.write('a/b', bytes(10), info)
      await symlink(root, join(root, 'a', 'circle'))
      await symlink('b', join(root, 'a', 'c'))
      await symlink('nowhere', join(root, 'a', 'd'))
      expect(await listed(storage)).toEqual(['a/b', 'a/c'])
    })
  })
})
