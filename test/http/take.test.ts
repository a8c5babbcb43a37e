import { expect, it, vi } from 'vitest'
import { StorageError } from '../../src/errors'
import { directUploads, type FetchHandler } from '../../src/http/direct-uploads'
import { diskStorage } from '../../src/storage/disk'
import { memoryStorage } from '../../src/storage/memory'
import type { Storage } from '../../src/storage/storage'
import { bytes, digest, stored } from '../../src/testing/bodies'
import { filesIn, folder } from '../support/world'
import { asking, codeIn, portOn, posting, type TestPort } from './port'

interface Setting {
  readonly port: TestPort
  readonly handler: FetchHandler
  readonly staging: Storage
  /** What lies in the staging, files that are not whole included. */
  files(): Promise<string[]>
}

async function onDisk(staging?: Storage): Promise<Setting> {
  const root = await folder()
  const disk = staging ?? diskStorage({ root })
  await disk.prepare?.()
  const port = portOn(disk)
  return { port, staging: disk, handler: directUploads(port, { authorize: () => true }), files: () => filesIn(root) }
}

/** Asks for an upload, and gives its URL. */
async function begun({ handler }: Setting, size: number): Promise<string> {
  const { url } = (await (await handler(posting(asking(size)))).json()) as { url: string }
  return new URL(url, 'http://app.test').href
}

const octets = { 'content-type': 'application/octet-stream' }

/** A PUT of bytes that come in pieces, with no length said. */
function putting(url: string, pieces: Iterable<Uint8Array>, headers: Record<string, string> = octets): Request {
  return new Request(url, { method: 'PUT', body: ReadableStream.from(pieces), headers, duplex: 'half' })
}

/** The form that a browser would send to S3. */
function form(url: string, file: Uint8Array<ArrayBuffer>, fields: Record<string, string> = { key: 'x' }): Request {
  const data = new FormData()
  for (const [name, value] of Object.entries(fields)) data.set(name, value)
  data.set('file', new File([file], 'me "and" you.png', { type: 'image/png' }))
  return new Request(url, { method: 'POST', body: data })
}

/** The same in pieces of so many bytes. */
async function inPieces(request: Request, size: number): Promise<Request> {
  const whole = new Uint8Array(await request.clone().arrayBuffer())
  const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, at) => whole.slice(at * size, (at + 1) * size))
  const headers = { 'content-type': request.headers.get('content-type') as string }
  return new Request(request.url, { method: 'POST', body: ReadableStream.from(pieces), headers, duplex: 'half' })
}

it('keeps the bytes under the key of the plan, and says an ETag', async () => {
  const setting = await onDisk()
  const url = await begun(setting, 200_000)
  const body = bytes(200_000)
  const response = await setting.handler(putting(url, [body.subarray(0, 70_000), body.subarray(70_000)]))
  expect(response.status).toBe(200)
  expect(response.headers.get('etag')).toMatch(/^"[0-9a-f]+"$/)
  expect(await stored(setting.staging, setting.port.planned[0]?.key as string)).toBe(digest(body))
  expect(setting.port.told).toEqual([setting.port.planned[0]?.key])
})

it('hands the storage what was promised', async () => {
  const staging = memoryStorage()
  const setting = await onDisk(staging)
  await setting.handler(putting(await begun(setting, 3), [bytes(3)]))
  expect([...staging.objects.values()].map(({ info }) => info)).toEqual([{ fileName: 'été.png', contentType: 'image/png', size: 3 }])
})

it.each([
  ['one byte more', '413 too_large', [bytes(1001)]],
  ['a piece more', '413 too_large', [bytes(1000), bytes(1)]],
  ['one byte less', '400 size_mismatch', [bytes(999)]],
  ['nothing', '400 size_mismatch', []],
])('keeps nothing of %s', async (_what, answer, pieces) => {
  const setting = await onDisk()
  expect(await codeIn(await setting.handler(putting(await begun(setting, 1000), pieces)))).toBe(answer)
  expect(await setting.files()).toEqual([])
})

it('stops reading what is too large', async () => {
  const setting = await onDisk()
  let read = 0
  const endless = function* () {
    for (;;) {
      read += 1000
      yield bytes(1000)
    }
  }
  expect(await codeIn(await setting.handler(putting(await begun(setting, 10_000), endless())))).toBe('413 too_large')
  expect(read).toBeLessThan(100_000)
  expect(await setting.files()).toEqual([])
})

it.each([
  ['413 too_large', '1001'],
  ['400 size_mismatch', '999'],
])('answers %s by the length that is said, and reads nothing', async (answer, length) => {
  const setting = await onDisk()
  let read = 0
  const pieces = function* () {
    read++
    yield bytes(1000)
  }
  const request = putting(await begun(setting, 1000), pieces(), { ...octets, 'content-length': length })
  expect(await codeIn(await setting.handler(request))).toBe(answer)
  expect(read).toBe(0)
})

it('does not trust a length that is right', async () => {
  const setting = await onDisk()
  const request = putting(await begun(setting, 1000), [bytes(2000)], { ...octets, 'content-length': '1000' })
  expect(await codeIn(await setting.handler(request))).toBe('413 too_large')
  expect(await setting.files()).toEqual([])
})

it('keeps nothing of a body that breaks off', async () => {
  const setting = await onDisk()
  const broken = function* () {
    yield bytes(500)
    throw new Error('aborted')
  }
  expect(await codeIn(await setting.handler(putting(await begun(setting, 1000), broken())))).toBe('400 source_failed')
  expect(await setting.files()).toEqual([])
})

it('takes an upload that broke off, or was too large, once more', async () => {
  const setting = await onDisk()
  const url = await begun(setting, 1000)
  expect(await codeIn(await setting.handler(putting(url, [bytes(1)])))).toBe('400 size_mismatch')
  expect((await setting.handler(putting(url, [bytes(1000)]))).status).toBe(200)
})

it('takes an upload once, and reads nothing of a second one', async () => {
  const setting = await onDisk()
  const url = await begun(setting, 1000)
  await setting.handler(putting(url, [bytes(1000)]))
  let read = 0
  const again = function* () {
    read++
    yield bytes(1000, 1)
  }
  expect(await codeIn(await setting.handler(putting(url, again())))).toBe('409 already_uploaded')
  expect(read).toBe(0)
  expect(await stored(setting.staging, setting.port.planned[0]?.key as string)).toBe(digest(bytes(1000)))
})

it('tells once more of a file that is there, since whoever sends it again had no answer', async () => {
  const setting = await onDisk()
  const url = await begun(setting, 3)
  const arrived = vi.spyOn(setting.port, 'arrived').mockRejectedValueOnce(new Error('the database is down'))
  await expect(setting.handler(putting(url, [bytes(3)]))).rejects.toThrow('the database is down')
  expect(await codeIn(await setting.handler(putting(url, [bytes(3)])))).toBe('409 already_uploaded')
  expect(arrived).toHaveBeenCalledTimes(2)
})

it('takes one of two uploads at the same time', async () => {
  const setting = await onDisk()
  const url = await begun(setting, 100_000)
  const bodies = [bytes(100_000, 1), bytes(100_000, 2)]
  const answers = await Promise.all(bodies.map((body) => setting.handler(putting(url, [body]))))
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
  const won = bodies[answers.findIndex(({ status }) => status === 200)] as Buffer
  expect(await stored(setting.staging, setting.port.planned[0]?.key as string)).toBe(digest(won))
})

it.each(['', 'token-of-mine', '../../etc/passwd'])('answers 403 to the token %o, and reads nothing', async (token) => {
  const setting = await onDisk()
  expect(await codeIn(await setting.handler(putting(`http://app.test/uploads?upload=${encodeURIComponent(token)}`, [bytes(3)])))).toBe(
    '403 bad_token',
  )
  expect(await setting.files()).toEqual([])
})

it.each(['image/png', 'application/json', 'text/plain', 'application/x-www-form-urlencoded'])(
  'takes no body as %s, which a parser may have taken apart',
  async (type) => {
    const setting = await onDisk()
    expect(await codeIn(await setting.handler(putting(await begun(setting, 3), [bytes(3)], { 'content-type': type })))).toBe('415 not_bytes')
  },
)

it('takes a body of no type', async () => {
  const setting = await onDisk()
  expect((await setting.handler(putting(await begun(setting, 3), [bytes(3)], {}))).status).toBe(200)
})

it('throws what the storage says, and not what broke off by that', async () => {
  const failure = new StorageError('disk_failed', 'cannot write /srv/app/staging/…: ENOSPC')
  const staging = {
    ...memoryStorage(),
    write: async () => {
      throw failure
    },
  }
  const setting = await onDisk(staging)
  await expect(setting.handler(putting(await begun(setting, 3), [bytes(3)]))).rejects.toBe(failure)
})

it.each([1, 3, 17, 1000, 1_000_000])('takes the file of a form that comes %i bytes at a time', async (size) => {
  const setting = await onDisk()
  const body = Buffer.from(bytes(2000))
  const url = await begun(setting, body.length)
  const request = await inPieces(form(url, body as Buffer<ArrayBuffer>, { key: 'a\r\n\r\nb', 'x-file': 'name="file"' }), size)
  expect((await setting.handler(request)).status).toBe(200)
  expect(await stored(setting.staging, setting.port.planned[0]?.key as string)).toBe(digest(body))
})

it('takes a file that holds what looks like the end of its form', async () => {
  const setting = await onDisk()
  const boundary = 'b'
  const file = `\r\n--${boundary}--\r\n\r\n--${boundary}\r\nContent-Disposition: form-data; name="file"\r\n\r\n`
  const text = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${file}\r\n--${boundary}--\r\n`
  const request = posting(text, { type: `multipart/form-data; boundary=${boundary}`, url: await begun(setting, file.length) })
  expect((await setting.handler(request)).status).toBe(200)
  expect(await stored(setting.staging, setting.port.planned[0]?.key as string)).toBe(digest(Buffer.from(file)))
})

it('takes a form whose last line has no end, which the standard leaves open', async () => {
  const setting = await onDisk()
  const type = 'multipart/form-data; boundary=b'
  const posted = async (file: string) => {
    const text = `--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${file}\r\n--b--`
    return setting.handler(posting(text, { type, url: await begun(setting, 3) }))
  }
  expect((await posted('abc')).status).toBe(200)
  expect(await codeIn(await posted('abcd'))).toBe('413 too_large')
  for (const small of ['ab', 'a', '']) expect(await codeIn(await posted(small))).toBe('400 size_mismatch')
  expect((await setting.files()).filter((path) => path.endsWith('/original'))).toHaveLength(1)
})

it.each([
  [1, '413 too_large'],
  [5000, '413 too_large'],
  [-1, '400 size_mismatch'],
  [-20, '400 size_mismatch'],
  [-100, '400 size_mismatch'],
  [-1999, '400 size_mismatch'],
])('keeps nothing of a form whose file has %i bytes more than announced', async (more, answer) => {
  for (const size of [7, 100_000]) {
    const setting = await onDisk()
    const request = await inPieces(form(await begun(setting, 2000), bytes(2000 + more) as Buffer<ArrayBuffer>), size)
    expect(await codeIn(await setting.handler(request))).toBe(answer)
    expect(await setting.files()).toEqual([])
    expect(setting.port.told).toEqual([])
  }
})

it.each([
  ['no file', '--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nx\r\n--b--\r\n', '400 bad_request'],
  ['a part after the file', '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--b\r\nX: y\r\n\r\n\r\n--b--\r\n', '413 too_large'],
  ['another boundary', '--c\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--c--\r\n', '400 bad_request'],
  ['no end', '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc', '400 size_mismatch'],
  ['nothing', '', '400 bad_request'],
  ['too much before the file', `--b\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`, '400 bad_request'],
])('refuses a form with %s', async (_what, text, answer) => {
  const setting = await onDisk()
  const request = posting(text, { type: 'multipart/form-data; boundary="b"', url: await begun(setting, 3) })
  expect(await codeIn(await setting.handler(request))).toBe(answer)
  expect(await setting.files()).toEqual([])
})

it('refuses a form that is none', async () => {
  const setting = await onDisk()
  const url = await begun(setting, 3)
  for (const type of ['application/octet-stream', 'multipart/form-data', 'multipart/mixed; boundary=b']) {
    expect(await codeIn(await setting.handler(posting('abc', { type, url })))).toBe('415 not_bytes')
  }
})
