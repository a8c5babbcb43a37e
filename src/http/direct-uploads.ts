import { UsageError } from '../errors'
import { answer, refusalOf } from './answer'
import { readAsked } from './asked'
import { formHere, take } from './take'
import type { AskedUpload, PlannedUpload, UploadPort } from './upload-port'
import { answerUppy, uppyCallOf } from './uppy'

/** Answers a request of the fetch standard: as Hono, Next and Bun call it, and everybody else by `toNodeHandler()`. */
export type FetchHandler = (request: Request) => Promise<Response>

type Allowed = string | boolean | null | undefined

export interface DirectUploadOptions {
  /**
   * Says who may upload what: a subject, for whom the upload then is; true, for whoever brings the token; anything else refuses.
   * Look at the headers of the request only: its body is read by then, and the second parameter is what it asked for. What is
   * thrown reaches whoever called the handler; a `Response` that is thrown is the answer.
   */
  authorize(request: Request, asked: AskedUpload): Allowed | Promise<Allowed>
  /** Seconds until which an upload has to begin: 1 to 43,200. Default 3,600. */
  expiresIn?: number
}

/**
 * Lets browsers upload into the staging. A POST is answered with what a browser needs to upload one file, and so are the calls of
 * Uppy's S3 plugin. Where the staging has no `uploads`, the bytes come here. A refusal is an answer in JSON, an error is thrown.
 */
export function directUploads(port: UploadPort, { authorize, expiresIn = 3600 }: DirectUploadOptions): FetchHandler {
  if (typeof authorize !== 'function') {
    throw new UsageError('authorize_missing', 'somebody has to say who may upload what: directUploads({ authorize(request, asked) { … } })')
  }

  return async (request) => {
    const url = new URL(request.url)
    const uppy = uppyCallOf(url)
    let authorizing = false

    async function plan(asked: AskedUpload): Promise<PlannedUpload> {
      authorizing = true
      const subject = await authorize(request, asked)
      authorizing = false
      if (subject === true) return port.plan(asked, null)
      if (typeof subject === 'string' && subject !== '') return port.plan(asked, subject)
      throw new UsageError('forbidden', 'this upload is not allowed')
    }

    async function answered(): Promise<Response> {
      if (uppy) return answerUppy(request, uppy, { port, expiresIn, plan })
      const { uploads } = port.staging
      const token = url.searchParams.get('upload')
      if (!uploads && token !== null && ['PUT', 'POST'].includes(request.method)) return take(request, token, port)
      if (request.method !== 'POST') return notAllowed(uploads ? 'POST' : 'POST, PUT')
      const { token: signed, key, info } = await plan(await readAsked(request))
      const form = uploads ? await uploads.form(key, info, expiresIn) : formHere(pathOf(url), signed)
      return answer({ ...form, token: signed })
    }

    return answered().catch((error) => {
      const refusal = authorizing ? undefined : refusalOf(error)
      if (authorizing && error instanceof Response) return error
      if (!refusal) throw error
      const { status, told } = refusal
      if (!uppy) return answer({ error: told }, status)
      // Uppy 5 looks for the message beside the error, and Uppy 6 in the status line
      return answer({ error: told, message: told.message }, status, { statusText: told.message.replace(/[^ -~]/g, '?') })
    })
  }
}

/** Two slashes at the beginning would name a host. */
function pathOf({ pathname }: URL): string {
  return pathname.replace(/^\/+/, '/')
}

function notAllowed(allow: string): Response {
  return answer({ error: { code: 'method_not_allowed', message: `only ${allow} is answered here` } }, 405, { headers: { allow } })
}
