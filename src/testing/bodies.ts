import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Storage } from '../storage/storage'

export const info = { contentType: 'application/octet-stream' }
export const MB = 1024 * 1024
const chunk = 64 * 1024

/** The same in every process. Of prime length: no two parts of a body made of it are alike, wherever a storage cuts. */
const pattern = createHash('shake256', { outputLength: 65_521 }).digest()

/** Bytes in which nothing can be missing, doubled or in the wrong place without being noticed. */
export function bytes(size: number, mark = 0): Buffer {
  return Buffer.alloc(size, pattern).fill(mark, 0, Math.min(size, 1))
}

/** The same as a stream, made while it is read; breaks with `error` where one is given. */
export function streamOf(body: Buffer, error?: Error): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < body.length; at += chunk) yield body.subarray(at, at + chunk)
      if (error) throw error
    })(),
    { objectMode: false },
  )
}

/** A stream that is destroyed when all of `body` was read, and never ends: a client that went away. */
export function cutOff(body: Buffer): Readable {
  return slowly(body, (stream) => stream.destroy())
}

/** A stream that does at its end what it is told, instead of ending. */
export function slowly(body: Buffer, atEnd: (stream: Readable) => void): Readable {
  let at = 0
  return new Readable({
    read() {
      if (at < body.length) this.push(body.subarray(at, at + chunk))
      else atEnd(this)
      at += chunk
    },
  })
}

/** Short enough to be read in a failure's message. */
export function digest(body: Uint8Array): string {
  return `${body.length} bytes, SHA-256 ${createHash('sha256').update(body).digest('hex')}`
}

/** What lies under a key, as `digest` tells it, or `nothing`. */
export async function stored(storage: Storage, key: string): Promise<string> {
  const body = await storage.read(key).catch((error) => {
    if (error?.code !== 'object_missing') throw error
  })
  return body ? digest(await buffer(body)) : 'nothing'
}

/** A storage may go two ways, depending on whether it knows the size beforehand. */
export const sizes = (size: number): [string, number?][] => [['told', size], ['not told']]
