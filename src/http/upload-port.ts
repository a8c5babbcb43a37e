import type { Storage, UploadInfo } from '../storage/storage'

/** What somebody asks to upload. All of it is their word. */
export interface AskedUpload {
  /** Name of the entity. */
  readonly entity: string
  /** Name of its attachment: `'avatar'`. */
  readonly property: string
  readonly fileName: string
  readonly contentType: string
  /** Bytes. */
  readonly size: number
}

/** An upload that may be made. */
export interface PlannedUpload {
  /** Says all of this again, and cannot be forged. */
  readonly token: string
  /** Where the bytes are to lie in the staging. */
  readonly key: string
  /** What was promised. */
  readonly info: UploadInfo
}

/** What the handler of direct uploads needs from outside. */
export interface UploadPort {
  /**
   * Decides by what is asked for whether an attachment takes it. What it refuses, it throws; its messages are shown to whoever asked
   * where the code is one of a refusal (see `answer.ts`).
   *
   * @param subject whom it is for; null for whoever brings the token
   */
  plan(asked: AskedUpload, subject: string | null): PlannedUpload
  /** What a token of `plan()` says. Throws `bad_token` or `token_expired`. */
  open(token: string): PlannedUpload
  /** Is told of each file that has come through the handler: somebody may wait for it. */
  arrived(key: string): Promise<unknown>
  /** Takes the bytes from browsers by its `uploads`; without, the handler takes them and writes. */
  readonly staging: Storage
}
