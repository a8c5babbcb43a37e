import { gunzipSync, gzipSync } from 'node:zlib'
/** A job that is too large for its queue, small: it only says whose it is. */
export function packed(job: { kind: string; entity: string; attachment: string }): object {
  const { kind, entity, attachment } = job
  return { kind, entity, attachment, gzip: gzipSync(JSON.stringify(job)).toString('base64') }
}

/** What was packed; anything else as it is. Throws where the package is broken. */
export function unpacked(given: unknown): unknown {
  const { gzip } = Object(given) as { gzip?: unknown }
  return typeof gzip === 'string' ? JSON.parse(gunzipSync(Buffer.from(gzip, 'base64')).toString()) : given
}
