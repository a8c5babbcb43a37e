const units: Readonly<Record<string, number>> = { b: 1, kb: 2 ** 10, mb: 2 ** 20, gb: 2 ** 30 }

/** `'10 MB'` or a number of bytes, in bytes; nothing given is Infinity. Throws a plain `Error` on anything else. */
export function parseSize(size: number | string | undefined): number {
  if (size === undefined) return Number.POSITIVE_INFINITY
  const match = typeof size === 'string' ? /^(\d+(?:\.\d+)?)\s*([kmg]?b)$/i.exec(size.trim()) : undefined
  const bytes = match ? Math.floor(Number(match[1]) * (units[String(match[2]).toLowerCase()] ?? 0)) : size
  if (typeof bytes === 'number' && bytes > 0) return bytes
  throw new Error(`is ${JSON.stringify(size)}: give a number of bytes, or a text such as '500 KB', '10 MB' or '2 GB'`)
}
