import { UsageError } from '../errors'
import type { DirectUploads, UploadForm } from '../storage/storage'
import { answer } from './answer'
import { badRequest } from './refusals'
import { formHere } from './take'
import type { AskedUpload, PlannedUpload, UploadPort } from './upload-port'
import { askedByJson, askedByQuery } from './uppy-asked'
import { complete, known, partNumber, unknownUpload } from './uppy-parts'

/** Longer than any id that a server has given to an upload in parts: some answer to those with an error of their own. Characters. */
const longestId = 1024

/** A call of Uppy's S3 plugin (`@uppy/aws-s3` 5 and 6): they are those of its Companion. */
export interface UppyCall {
  /** The path where the handler is mounted. */
  readonly base: string
  /** What follows `/s3/`: what is called, the upload in parts, and what of it. */
  readonly steps: readonly string[]
  readonly query: URLSearchParams
}

/** What an answer needs. */
export interface UppyContext {
  readonly port: UploadPort
  /** Seconds. */
  readonly expiresIn: number
  plan(asked: AskedUpload): Promise<PlannedUpload>
}

interface Asking extends UppyCall, UppyContext {
  readonly request: Request
}

/** The call that a URL stands for; undefined where it is none of Uppy's. */
export function uppyCallOf({ pathname, searchParams }: URL): UppyCall | undefined {
  // segment by segment, so that a path of slashes alone takes no longer than another
  const [, base, rest] = /^((?:\/+[^/]+)*?)\/+s3\/((?:params|sts|multipart)(?:\/.*)?)$/.exec(pathname) ?? []
  return base === undefined || rest === undefined ? undefined : { base, steps: rest.split('/'), query: searchParams }
}

/** Answers a call of Uppy. */
export async function answerUppy(request: Request, call: UppyCall, context: UppyContext): Promise<Response> {
  const [what, id, part] = call.steps
  const name = [what, id && ':id', part && (part === 'complete' ? part : ':part')].filter((step) => step !== undefined).join('/')
  const route = call.steps.length > 3 ? undefined : routes.get(`${request.method} ${name}`)
  if (!route) throw new UsageError('unknown_route', `there is no ${request.method} s3/${call.steps.join('/')} here`)
  return answer(await route({ ...call, ...context, request }))
}

const routes = new Map<string, (asking: Asking) => Promise<object>>([
  ['GET params', async (asking) => formOf(await asking.plan(askedByQuery(asking.query)), asking)],
  [
    'POST multipart',
    async (asking) => {
      const uploads = inParts(asking)
      const { token, key, info } = await asking.plan(await askedByJson(asking.request))
      return { uploadId: await uploads.begin(key, info), key: token }
    },
  ],
  [
    'GET multipart/:id',
    async (asking) => {
      const { uploads, key, id } = upload(asking)
      const parts = await known(uploads.parts(key, id))
      return parts.map(({ number, etag, size }) => ({ PartNumber: number, ETag: etag, Size: size }))
    },
  ],
  [
    'GET multipart/:id/:part',
    async (asking) => {
      const { uploads, key, id, info } = upload(asking)
      const number = partNumber(asking.steps[2] as string, info.size)
      return { method: 'PUT', url: await uploads.part(key, id, number, asking.expiresIn), expires: asking.expiresIn }
    },
  ],
  [
    'POST multipart/:id/complete',
    async (asking) => {
      const { uploads, id, ...planned } = upload(asking)
      await complete(asking.request, id, planned, asking.port.staging, uploads)
      return { key: planned.token }
    },
  ],
  [
    'DELETE multipart/:id',
    async (asking) => {
      const { uploads, key, id } = upload(asking)
      await uploads.abort(key, id)
      return {}
    },
  ],
])

/**
 * An upload in parts that is under way. What Uppy takes for its key is our token: it comes back with each call, so that each is
 * checked.
 */
function upload(asking: Asking): PlannedUpload & { readonly uploads: DirectUploads; readonly id: string } {
  const uploads = inParts(asking)
  const planned = asking.port.open(asking.query.get('key') ?? '')
  const id = decoded(asking.steps[1] as string)
  if (id.length > longestId) throw unknownUpload()
  return { ...planned, uploads, id }
}

function inParts({ port: { staging } }: Asking): DirectUploads {
  if (staging.uploads) return staging.uploads
  throw new UsageError('no_parts', 'this staging takes no uploads in parts: give the plugin shouldUseMultipart: false, or stage in S3')
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step)
  } catch {
    throw badRequest(`'${step.slice(0, 100)}' is not encoded as a step of a path`)
  }
}

/**
 * How Uppy sends a file in one piece: by POST to S3. Uppy tells the page nothing of the answer but `fields.key`, which S3 takes for
 * the key: so the token is kept with the object. Where a PUT is sent, S3 does not see the fields, and the token stands there.
 */
async function formOf({ token, key, info }: PlannedUpload, { port, expiresIn, base, request }: Asking): Promise<UploadForm> {
  const { uploads } = port.staging
  if (!uploads) {
    const form = formHere(base, token)
    return { ...form, url: originOf(request) + form.url, fields: { key: token } }
  }
  const form = await uploads.form(key, { ...info, token }, expiresIn)
  return form.method === 'POST' ? form : { ...form, fields: { key: token } }
}

/** Where the browser finds this server: a proxy may have changed what the request says of that. */
function originOf({ url, headers }: Request): string {
  const page = headers.get('referer')
  const isSame = headers.get('sec-fetch-site') === 'same-origin' && page !== null && URL.canParse(page)
  return new URL(isSame ? page : url).origin
}
