import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { diskStorage } from '../../../src/storage/disk'
import type { Storage } from '../../../src/storage/storage'

/** How a disk storage may be wrong that does as it should as long as nobody kills it. */
export type Flaw = 'in place' | 'in place, when all was read' | 'later'

const chunk = 128 * 1024

export function brokenDisk(root: string, flaw: Flaw): Storage {
  const sound = diskStorage({ root })

  async function writeInPlace(key: string, body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    const path = join(root, key)
    await mkdir(dirname(path), { recursive: true })
    const file = await open(path, 'w')
    for await (const piece of body) {
      await file.write(piece)
      await file.sync()
    }
    await file.close()
  }

  function* pieces(body: Buffer): Generator<Uint8Array> {
    for (let at = 0; at < body.length; at += chunk) yield body.subarray(at, at + chunk)
  }

  return {
    ...sound,
    async write(key, body, info) {
      if (flaw === 'in place') return writeInPlace(key, body instanceof Readable ? body : [body])
      const whole = body instanceof Readable ? Buffer.concat(await body.toArray()) : Buffer.from(body)
      if (flaw === 'in place, when all was read') return writeInPlace(key, pieces(whole))
      setTimeout(() => sound.write(key, whole, info), 10_000)
    },
  }
}

export const makeStorage = async () => brokenDisk(process.env['CONTRACT_ROOT'] as string, process.env['CONTRACT_FLAW'] as Flaw)
