import { readdir } from 'node:fs/promises'
import { expect, it, vi } from 'vitest'
import { diskStorage } from '../src'
import { bytes, digest, stored, streamOf } from '../src/testing/bodies'
import { writesOnce } from '../src/testing/storage/once'
import { folder } from './support/world'

/** As on FAT, and on some shares of a network. */
vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof import('node:fs/promises')>()),
  link: async () => {
    throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM', syscall: 'link' })
  },
}))

const info = { contentType: 'application/octet-stream' }

it.each(writesOnce)('a disk without links %s', async (_, check) => {
  const storage = diskStorage({ root: await folder() })
  await storage.prepare?.()
  await check(storage)
})

it('a disk without links is written to and replaced as any other', async () => {
  const root = await folder()
  const storage = diskStorage({ root })
  for (const size of [1_000, 200_000, 10]) {
    await storage.write('a/b', streamOf(bytes(size)), info)
    expect(await stored(storage, 'a/b')).toBe(digest(bytes(size)))
  }
  expect(await readdir(root)).toEqual(['a'])
})
