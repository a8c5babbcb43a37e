/** How a browser brings a file to its place: what the handler of direct uploads answers, and `attachments.expect()`. */
export interface UploadForm {
  /** A form that is posted, its fields first and then the file as `file`; or the bytes alone. */
  readonly method: 'POST' | 'PUT'
  readonly url: string
  readonly fields: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

export interface SendOptions {
  /**
   * Told now and then how many bytes of the request are on their way, with all of them at the end. A request is some hundred
   * bytes larger than its file. Each new try begins at 0.
   */
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void
  /** Gives the upload up. It then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** How often to try again after no answer, 429, 5xx, or where S3 is at the same place still. 3 by default, after half a second to a second, and twice as long each time. */
  readonly retries?: number
}

export interface UploadOptions extends SendOptions {
  /** Where the handler of direct uploads is: `/uploads`. */
  readonly url: string
  /** The entity's name: `User`. */
  readonly entity: string
  /** The attachment's: `avatar`. */
  readonly property: string
  /** Sent along to the application, not to the bucket: a CSRF token, `authorization`. Cookies go by themselves, to the page's own origin. */
  readonly headers?: Readonly<Record<string, string>>
}

/** What `upload()` and `send()` reject with. */
export interface UploadError extends Error {
  /** The application's own code, or S3's (`EntityTooLarge`); else `no_answer` or, where an answer says nothing that is known, `http_502`. */
  readonly code: string
  /** Of HTTP; 0 where there was no answer. */
  readonly status: number
}

/** A form that was asked for. */
type AskedForm = UploadForm & { readonly token: string }

/**
 * Uploads a file, and gives the token that `fromDirectUpload()` takes. Each try asks for a form of its own: the first may have
 * expired, and its place may be taken by a file whose answer was lost.
 *
 * @throws UploadError, or the signal's reason
 */
export async function upload(file: File, options: UploadOptions): Promise<{ token: string }> {
  return { token: await bring(file, options) }
}

/**
 * Sends a file to a form that the page has already. Each try sends it to the same form. A place that is taken when it is tried
 * again holds the file: it arrived, and the answer was lost.
 *
 * @throws UploadError, or the signal's reason
 */
export async function send(file: Blob, form: UploadForm, options: SendOptions = {}): Promise<void> {
  await bring(file, options, form)
}

function bring(file: File, options: UploadOptions): Promise<string>
function bring(file: Blob, options: SendOptions, given: UploadForm): Promise<unknown>
async function bring(file: Blob, options: SendOptions, given?: UploadForm): Promise<unknown> {
  const { signal, retries = 3 } = options
  for (let tries = 0; ; tries++) {
    try {
      const form = given ?? (await ask(file as File, options as UploadOptions))
      await deliver(file, form, options)
      return (form as AskedForm).token
    } catch (error) {
      signal?.throwIfAborted()
      const { status, code } = error as UploadError
      // S3 has another request to the same place under way, of which nobody knows yet how it ends
      const passes = status === 0 || status === 429 || status > 499 || /Conflict|Aborted/.test(code)
      if (given && tries && !passes && (status === 409 || status === 412)) return undefined
      if (tries >= retries || !passes) throw error
    }
    await new Promise((resume) => {
      // not at the same moment as all others who were refused
      setTimeout(resume, 2 ** tries * 500 * (1 + Math.random()))
      signal?.addEventListener('abort', resume)
    })
  }
}

async function ask(file: File, { url, entity, property, headers, signal }: UploadOptions): Promise<AskedForm> {
  const asked = { entity, property, fileName: file.name, contentType: file.type || 'application/octet-stream', size: file.size }
  const type = { 'content-type': 'application/json' }
  const form = await request('POST', url, { ...type, ...headers }, JSON.stringify(asked), { signal }, true)
  // a path is the application's own, wherever that is
  const own = form.url[0] === '/' && headers
  return { ...form, url: new URL(form.url, new URL(url, location.href)).href, headers: { ...own, ...form.headers } }
}

function deliver(file: Blob, { method, url, fields, headers }: UploadForm, options: SendOptions): Promise<unknown> {
  let body: Blob | FormData = file
  if (method === 'POST') {
    body = new FormData()
    for (const name in fields) body.append(name, fields[name] as string)
    // S3 reads no field that comes after the file
    body.append('file', file)
  }
  return request(method, url, headers, body, options)
}

/**
 * What is answered, if it is good: 2xx, and a form where one is wanted. By XMLHttpRequest, for `fetch()` tells no progress.
 */
async function request(
  method: string,
  url: string,
  headers: UploadForm['headers'],
  body: XMLHttpRequestBodyInit,
  { signal, onProgress }: SendOptions,
  formWanted?: boolean,
): Promise<AskedForm> {
  signal?.throwIfAborted()
  const xhr = new XMLHttpRequest()
  const abort = () => xhr.abort()
  xhr.open(method, url)
  for (const name in headers) xhr.setRequestHeader(name, headers[name] as string)
  // also where nobody wants to know: where somebody listens, a browser asks another origin before it sends the bytes
  xhr.upload.onprogress = (progress) => onProgress?.(progress)
  signal?.addEventListener('abort', abort)
  await new Promise((ended) => {
    xhr.onloadend = ended
    xhr.send(body)
  })
  signal?.removeEventListener('abort', abort)

  const { status, responseText, responseXML } = xhr
  const { origin } = new URL(url, location.href)
  // biome-ignore lint/suspicious/noExplicitAny: a form, or an error, or anything
  let told: any
  try {
    told = JSON.parse(responseText)
  } catch {}
  if (status > 199 && status < 300 && (!formWanted || told?.token)) return told
  const textOf = (tag: string) => responseXML?.querySelector(tag)?.textContent
  let code = 'no_answer'
  let message = `No answer from ${origin}: the network is down`
  if (status) {
    code = told?.error?.code || textOf('Code') || `http_${status}`
    message = told?.error?.message || textOf('Message') || `${origin} answered ${status}`
  } else if (origin !== location.origin) message += `, or the bucket's CORS rule must allow ${method} from ${location.origin}`
  throw Object.assign(new Error(message), { code, status })
}
