/** An ETag without quotes, as the events of a bucket tell it; `''` where there is none. */
export function bare(etag = ''): string {
  return etag.replace(/^"|"$/g, '')
}

/** An ETag as requests want it, whether or not it came with quotes. */
export function quoted(etag: string): string {
  return `"${bare(etag)}"`
}
