import type { Attached } from 'typeorm-attachments'
import { refusals } from './refusals'

/** A file as pages see it. How it is they are told besides. */
export interface Shown {
  readonly name: string
  /** How wide it is for its height: known from the beginning, so that nothing moves when its picture comes. */
  readonly ratio: number
  /** HTML; empty for a text, which has no pixels. */
  readonly picture: string
  /** The address of a larger one. */
  readonly larger: string | null
  /** What is wrong with it. */
  readonly problem?: string
}

export async function shown(file: Attached<string>): Promise<Shown> {
  const { width, height, error } = file
  const name = file.fileName ?? ''
  // the same for hours, so that the browser loads no picture twice
  const urls = await file.signedUrls({ expiresIn: 86_400, stable: true })
  return {
    name,
    // a text has no pixels before its first page is painted
    ratio: width && height ? width / height : 3 / 4,
    picture: file.picture({ alt: name, urls, sizes: '(max-width: 40rem) 50vw, 20rem', attributes: { decoding: 'sync' } }),
    larger: urls['large'] ?? urls['page'] ?? null,
    problem: error ? (refusals[error.code] ?? 'It could not be processed.') : undefined,
  }
}
