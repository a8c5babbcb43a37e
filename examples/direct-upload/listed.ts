import type { Attached } from 'typeorm-attachments'
import { refusals } from './refusals'

/** A file as the page shows it. */
export interface Listed {
  readonly id: string
  readonly name: string
  /** When it came. */
  readonly at: Date | null
  readonly state: 'awaited' | 'processing' | 'ready' | 'failed'
  /** A picture of it, and a larger one. */
  readonly picture?: string | null
  readonly larger?: string | null
  /** What is wrong with it. */
  readonly problem?: string
}

export async function listed<S extends string>(id: string, file: Attached<S>, picture: S, larger: S): Promise<Listed> {
  const facts = { id, name: file.fileName ?? '', at: file.updatedAt }
  if (file.error) return { ...facts, state: 'failed', problem: refusals[file.error.code] ?? 'It could not be processed.' }
  if (file.processing) return { ...facts, state: file.awaiting ? 'awaited' : 'processing' }
  // the same for a while, so that the browser loads no picture twice
  const signed = { expiresIn: 3600, stable: true }
  return { ...facts, state: 'ready', picture: await file.signedUrl(picture, signed), larger: await file.signedUrl(larger, signed) }
}
