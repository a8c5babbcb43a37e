import { codeOf, UsageError } from '../errors'
import { bare } from '../storage/s3-etag'
import type { DirectUploads, Storage, UploadedPart } from '../storage/storage'
import { readJson } from './body'
import { badRequest, tooLarge, tooSmall } from './refusals'
import type { PlannedUpload } from './upload-port'

/** What S3 takes at most. */
const mostParts = 10_000

/** What Uppy sends at least in a part, but for the last one. Bytes. */
const leastPart = 5 * 1024 * 1024

/** Room for the list of all parts. Bytes. */
const enough = 2 * 1024 * 1024

/** The number of a part that a file of this size can have, from a path. */
export function partNumber(step: string, size: number): number {
  const most = Math.min(mostParts, Math.ceil(size / leastPart))
  const number = /^\d{1,5}$/.test(step) ? Number(step) : 0
  if (number < 1 || number > most) throw badRequest(`a file of ${size} bytes has parts 1 to ${most}, and no part '${step.slice(0, 20)}'`)
  return number
}

/**
 * Makes one object of the parts that a request names. What they come to was signed for none of them, so it is looked at here:
 * anything but what was announced is given up. Asked twice, since the first answer was lost, it is done already.
 */
export async function complete(request: Request, id: string, { key, info }: PlannedUpload, staging: Storage, uploads: DirectUploads): Promise<void> {
  const named = partsIn(await readJson(request, enough))
  try {
    const came = new Map((await uploads.parts(key, id)).map((part) => [part.number, part]))
    const size = named.reduce((sum, { number }) => sum + (came.get(number)?.size ?? 0), 0)
    if (size !== info.size) {
      await uploads.abort(key, id)
      throw size > info.size ? tooLarge(info.size) : tooSmall(info.size)
    }
    // these, and no larger ones that are sent in the meantime
    if (named.some(({ number, etag }) => bare(etag) !== bare(came.get(number)?.etag))) throw notTheParts()
    await uploads.complete(key, id, named)
  } catch (error) {
    if (codeOf(error) === 'bad_parts') throw notTheParts()
    if (codeOf(error) !== 'upload_missing') throw error
    if ((await staging.stat(key))?.size !== info.size) throw unknownUpload()
  }
}

/** An error that says that there is no such upload is one of whoever asked. */
export async function known<T>(work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    throw codeOf(error) === 'upload_missing' ? unknownUpload() : error
  })
}

function partsIn({ parts }: Readonly<Record<string, unknown>>): Pick<UploadedPart, 'number' | 'etag'>[] {
  const named = Array.isArray(parts) ? parts.map((part) => ({ number: Object(part).PartNumber, etag: Object(part).ETag })) : []
  const fits = named.every(({ number, etag }) => Number.isInteger(number) && number >= 1 && number <= mostParts && typeof etag === 'string')
  if (named.length === 0 || !fits || new Set(named.map(({ number }) => number)).size < named.length) {
    throw badRequest(`'parts' must be a list of { PartNumber, ETag }, each number from 1 to ${mostParts} once`)
  }
  return named
}

const notTheParts = () => badRequest('these are not the parts that were uploaded')

export const unknownUpload = () => new UsageError('unknown_upload', 'there is no such upload in parts: it was given up, or never begun')
