import type { UploadForm } from '../../src'

type Handler = (request: Request) => Promise<Response>

export interface Asked {
  entity: string
  property: string
  fileName: string
  contentType: string
  size: number
}

/** Asks a handler for an upload, as a browser does. */
export async function ask(handler: Handler, asked: object, headers: Record<string, string> = {}) {
  const request = new Request('http://app.test/uploads', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(asked),
  })
  const response = await handler(request)
  const answer = (await response.json()) as UploadForm & { token: string; error?: { code: string; message: string } }
  return { status: response.status, ...answer }
}

/** Sends bytes as a form says; to the handler where the form names no server. The status. */
export async function send({ method, url, fields, headers }: UploadForm, bytes: Uint8Array, handler?: Handler): Promise<number> {
  let body: FormData | Uint8Array = bytes
  if (method === 'POST') {
    body = new FormData()
    for (const [name, value] of Object.entries(fields)) body.append(name, value)
    body.append('file', new Blob([bytes]), 'whatever.bin')
  }
  const request = new Request(new URL(url, 'http://app.test'), { method, headers, body })
  const response = await (url.startsWith('/') && handler ? handler(request) : fetch(request))
  await response.arrayBuffer()
  return response.status
}
