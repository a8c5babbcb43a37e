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

/** How a file is, as the handler of watching tells. `File` is what its `show` makes of it; by default the file's `toJSON()`. */
// biome-ignore lint/suspicious/noExplicitAny: only the page knows what it is shown
export interface WatchState<File = any> {
  /** The token by which it is watched. */
  readonly token: string
  /** `removed`: another file has taken its place, or none. */
  readonly state: 'awaiting' | 'processing' | 'processed' | 'failed' | 'removed'
  /** Another one whenever there is more to tell than progress. */
  readonly mark: string
  /** Of its styles so many, the original among them, are ready. Known while a job tells it, and not by a page that has to ask. */
  readonly progress?: { readonly done: number; readonly of: number }
  /** The topic of an MQTT broker, where there is one. */
  readonly topic?: string
  /** Null when it is removed. */
  readonly file?: File | null
}

// biome-ignore lint/suspicious/noExplicitAny: as above
export interface WatchOptions<File = any> {
  /** Where the handler of watching is: `/watch`. */
  readonly url: string
  /** Told how each file is, and then whenever that changes. */
  readonly onState: (state: WatchState<File>) => void
  /** Gives the watching up. It then rejects with the signal's reason. */
  readonly signal?: AbortSignal
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

/**
 * Tells what becomes of the files whose tokens the page has, up to 100, and resolves when there is nothing more to wait for: each is
 * processed, failed or removed. By one stream of events; where something between keeps them back, by asking every two seconds.
 * While no answer comes, it tries again.
 *
 * @throws UploadError where the handler refuses, such as `token_expired`; the signal's reason; or what `onState` throws
 */
// biome-ignore lint/suspicious/noExplicitAny: as above
export async function watch<File = any>(tokens: readonly string[], { url, onState, signal }: WatchOptions<File>): Promise<void> {
  const address = `${url}${url.includes('?') ? '&' : '?'}${new URLSearchParams(tokens.map((token) => ['token', token]))}`
  const known: Record<string, WatchState<File>> = {}
  const take = (state: WatchState<File>) => {
    const before = known[state.token]
    const now = { file: before?.file, ...state }
    known[state.token] = now
    if (now.progress || before?.mark !== now.mark) onState(now)
  }
  // neither awaiting nor processing
  const isOver = () => tokens.every((token) => !(known[token]?.state || 'g').endsWith('g'))
  let streams = true
  while (!isOver()) {
    signal?.throwIfAborted()
    if (streams) streams = await follow(address, take, isOver, signal)
    if (isOver()) return
    const { states } = await request('GET', address, {}, null, { signal }, 'states').catch((error) => {
      signal?.throwIfAborted()
      if (!mayPass(error)) throw error
      // when the server is back, streams may work again
      streams = true
      return { states: [] }
    })
    for (const state of states) take(state)
    if (!isOver()) await pause(1500, signal)
  }
}

/** Takes what a stream tells until it ends, is over or given up. False where it was silent, or did not even begin. Rejects as `take` throws. */
function follow<State>(address: string, take: (state: State) => void, isOver: () => boolean, signal?: AbortSignal): Promise<boolean> {
  return new Promise((ended, failed) => {
    const source = new EventSource(address)
    let timer: ReturnType<typeof setTimeout> | undefined
    let heard = false
    const end = () => {
      clearTimeout(timer)
      source.close()
      signal?.removeEventListener('abort', end)
      ended(heard)
    }
    const hear = (event: MessageEvent<string>) => {
      heard = true
      expect(40000)
      try {
        const told = JSON.parse(event.data)
        if (told) take(told)
      } catch (error) {
        failed(error)
        end()
      }
      if (isOver()) end()
    }
    const expect = (within: number) => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        heard = false
        end()
      }, within)
    }
    expect(5000)
    source.onmessage = hear
    source.addEventListener('alive', hear)
    source.onerror = end
    signal?.addEventListener('abort', end)
  })
}

/** Whether there was no answer, or one that says so. */
function mayPass(error: unknown): boolean {
  const { status, code } = error as UploadError
  // S3 has another request to the same place under way, of which nobody knows yet how it ends
  return status === 0 || status === 429 || status > 499 || /Conflict|Aborted/.test(code)
}

/** Resolves after once to twice the time, not at the same moment as all others who wait for the same, or when it is given up. */
function pause(time: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resume) => {
    const end = () => {
      signal?.removeEventListener('abort', end)
      resume()
    }
    setTimeout(end, time * (1 + Math.random()))
    signal?.addEventListener('abort', end)
  })
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
      const { status } = error as UploadError
      if (given && tries && !mayPass(error) && (status === 409 || status === 412)) return undefined
      if (tries >= retries || !mayPass(error)) throw error
    }
    await pause(2 ** tries * 500, signal)
  }
}

async function ask(file: File, { url, entity, property, headers, signal }: UploadOptions): Promise<AskedForm> {
  const asked = { entity, property, fileName: file.name, contentType: file.type || 'application/octet-stream', size: file.size }
  const type = { 'content-type': 'application/json' }
  const form: AskedForm = await request('POST', url, { ...type, ...headers }, JSON.stringify(asked), { signal }, 'token')
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
 * What is answered, if it is good: 2xx, and with the field that is wanted. By XMLHttpRequest, for `fetch()` tells no progress.
 */
async function request(
  method: string,
  url: string,
  headers: UploadForm['headers'],
  body: XMLHttpRequestBodyInit | null,
  { signal, onProgress }: SendOptions,
  wanted?: string,
  // biome-ignore lint/suspicious/noExplicitAny: as the handler says
): Promise<any> {
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
  if (status > 199 && status < 300 && (!wanted || told?.[wanted])) return told
  const textOf = (tag: string) => responseXML?.querySelector(tag)?.textContent
  let code = 'no_answer'
  let message = `No answer from ${origin}: the network is down`
  if (status) {
    code = told?.error?.code || textOf('Code') || `http_${status}`
    message = told?.error?.message || textOf('Message') || `${origin} answered ${status}`
  } else if (origin !== location.origin) message += `, or the bucket's CORS rule must allow ${method} from ${location.origin}`
  throw Object.assign(new Error(message), { code, status })
}
