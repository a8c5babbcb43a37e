import { readJson } from './body'
import { badRequest } from './refusals'
import type { AskedUpload } from './upload-port'

/** More than any request for an upload needs. Bytes. */
const enough = 16 * 1024

const types = { entity: 'string', property: 'string', fileName: 'string', contentType: 'string', size: 'number' } as const

/** A request for an upload in the plain JSON form: exactly these fields. */
export async function readAsked(request: Request): Promise<AskedUpload> {
  const given = await readJson(request, enough)
  const stranger = Object.keys(given).find((name) => !Object.hasOwn(types, name))
  if (stranger !== undefined) throw badRequest(`there is no field '${stranger}': send ${Object.keys(types).join(', ')}`)
  for (const [name, type] of Object.entries(types)) {
    if (typeof given[name] !== type) throw badRequest(`the field '${name}' must be a ${type}`)
  }
  return given as unknown as AskedUpload
}
