import { readJson } from './body'
import { badRequest } from './refusals'
import type { AskedUpload } from './upload-port'

/** Metadata of a page may be long. Bytes. */
const enough = 64 * 1024

/** What an upload in one piece is asked for by: `filename`, `type` and `metadata[…]`. */
export function askedByQuery(query: URLSearchParams): AskedUpload {
  const metadata = [...query].flatMap(([name, value]) => {
    const [, field] = /^metadata\[(.*)\]$/.exec(name) ?? []
    return field === undefined ? [] : [[field, value]]
  })
  return askedOf(query.get('filename'), query.get('type'), Object.fromEntries(metadata))
}

/** What an upload in parts is asked for by: the same in JSON. */
export async function askedByJson(request: Request): Promise<AskedUpload> {
  const { filename, type, metadata } = await readJson(request, enough)
  return askedOf(filename, type, Object(metadata))
}

/** The page has to put into `meta` what Uppy does not say by itself, the size among it. */
function askedOf(filename: unknown, type: unknown, { entity, property, size }: Readonly<Record<string, unknown>>): AskedUpload {
  if (typeof filename !== 'string') throw badRequest("there is no 'filename'")
  if (typeof entity !== 'string' || typeof property !== 'string') {
    throw badRequest("metadata must say 'entity' and 'property': new Uppy({ meta: { entity: 'User', property: 'avatar' } })")
  }
  if (!/^\d+$/.test(String(size))) {
    throw badRequest("metadata must say the 'size' in bytes: uppy.on('file-added', (file) => uppy.setFileMeta(file.id, { size: file.size }))")
  }
  // what a browser does not know comes as nothing, or as the word for it
  const contentType = typeof type === 'string' && type.includes('/') ? type : 'application/octet-stream'
  return { entity, property, fileName: filename, contentType, size: Number(size) }
}
