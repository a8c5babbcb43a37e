import { AttachmentError, StorageError } from '../errors'

/** What whoever asked may be told, and how HTTP calls it. All other errors are the program's business. */
const statuses: Readonly<Record<string, number>> = {
  bad_content_type: 400,
  bad_request: 400,
  bad_size: 400,
  empty: 400,
  no_parts: 400,
  size_mismatch: 400,
  source_failed: 400,
  bad_token: 403,
  forbidden: 403,
  token_expired: 403,
  unknown_attachment: 404,
  unknown_route: 404,
  unknown_upload: 404,
  method_not_allowed: 405,
  already_uploaded: 409,
  request_too_large: 413,
  too_large: 413,
  not_bytes: 415,
  not_json: 415,
  type_not_accepted: 415,
}

/** Where our own message would tell a visitor what there is. */
const discreet: Readonly<Record<string, string>> = {
  unknown_attachment: 'there is no such attachment',
}

interface Told {
  readonly headers?: Readonly<Record<string, string>>
  readonly statusText?: string
}

/** An answer as JSON. Nobody is to keep it: what it holds expires. */
export function answer(body: object, status = 200, { headers = {}, statusText }: Told = {}): Response {
  return Response.json(body, { status, statusText, headers: { 'cache-control': 'no-store', ...headers } })
}

/** What a refusal is answered with; undefined for an error that is none. */
export function refusalOf(error: unknown): { status: number; told: { code: string; message: string } } | undefined {
  if (!(error instanceof AttachmentError) || error instanceof StorageError) return undefined
  const { code } = error
  const status = Object.hasOwn(statuses, code) ? statuses[code] : undefined
  return status === undefined ? undefined : { status, told: { code, message: discreet[code] ?? error.message } }
}
