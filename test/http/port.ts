import { randomUUID } from 'node:crypto'
import { RefusedFileError, UsageError } from '../../src/errors'
import type { AskedUpload, PlannedUpload, UploadPort } from '../../src/http/upload-port'
import type { Storage } from '../../src/storage/storage'

/** Takes pictures of up to a megabyte for `User.avatar`, and remembers its tokens instead of signing them. */
export interface TestPort extends UploadPort {
  /** What was planned, and for whom. */
  readonly planned: Array<PlannedUpload & { readonly asked: AskedUpload; readonly subject: string | null }>
  /** The keys of which it was told that a file has come. */
  readonly told: string[]
}

export function portOn(staging: Storage, { maxSize = 1024 * 1024 } = {}): TestPort {
  const planned: TestPort['planned'] = []
  const arrived: string[] = []
  return {
    staging,
    planned,
    told: arrived,
    plan(asked, subject) {
      const { entity, property, fileName, contentType, size } = asked
      if (entity !== 'User') throw new UsageError('unknown_attachment', `there is no ${entity}: there is Customer`)
      if (property !== 'avatar') throw new UsageError('unknown_attachment', `there is no ${property}: there is secretPlan`)
      if (!Number.isSafeInteger(size) || size < 0) throw new UsageError('bad_size', `${size} is no size`)
      if (size === 0) throw new RefusedFileError('empty', 'the file is empty')
      if (size > maxSize) throw new RefusedFileError('too_large', 'the file is too large')
      if (!contentType.startsWith('image/')) throw new RefusedFileError('type_not_accepted', `User.avatar does not take ${contentType}`)
      const version = randomUUID().replaceAll('-', '')
      const key = `User/avatar/${version.slice(0, 2)}/${version}/original`
      const plan = { token: `token-${version}`, key, info: { fileName, contentType, size }, asked, subject }
      planned.push(plan)
      return plan
    },
    arrived: async (key) => void arrived.push(key),
    open(token) {
      const found = planned.find((plan) => plan.token === token)
      if (!found) throw new RefusedFileError('bad_token', 'this is no token of ours')
      return found
    },
  }
}

/** A picture of so many bytes, as whoever wants to upload it says. */
export function asking(size: number): AskedUpload {
  return { entity: 'User', property: 'avatar', fileName: 'été.png', contentType: 'image/png', size }
}

/** A POST of JSON, or of whatever the type says. */
export function posting(body: unknown, { type = 'application/json', url = 'http://app.test/uploads' } = {}): Request {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
  return new Request(url, { method: 'POST', body: text as string, headers: { 'content-type': type } })
}

export async function codeIn(response: Response): Promise<string> {
  return `${response.status} ${((await response.json()) as { error: { code: string } }).error.code}`
}
