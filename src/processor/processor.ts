import type { Readable } from 'node:stream'
import type { UploadForm } from '../storage/storage'
import type { Size } from '../style/geometry'
import type { Format, Style } from '../style/style'

/** A file that a processor reads. While it is identified its last bytes may be on their way: `path()` and `open()` wait for them. */
export interface ProcessorInput {
  readonly contentType: string
  /** Where it lies on this machine, if it does; prefer it to `open()`. */
  path?(): Promise<string>
  /** The first 64 KiB, where they are at hand: often enough to tell what it is. */
  readonly head?: Uint8Array
  open(): Promise<Readable>
}

/** A style as it was made. */
export interface Made {
  readonly style: Style
  readonly body: Uint8Array
  readonly contentType: string
  /** Pixels, where that means something. */
  readonly width?: number
  readonly height?: number
  /** What the whole picture looks like, as [thumbhash](https://github.com/evanw/thumbhash); one style of a file is enough. */
  readonly thumbhash?: Uint8Array
}

/** What a processor can tell of a file without making anything. */
export interface Identified extends Size {
  readonly contentType: string
}

/** One style that a service outside is to make. */
export interface HandedOn {
  readonly style: Style
  /** Of the original. */
  readonly contentType: string
  /** Where the service reads the original. A signed URL that works until the deadline. */
  readonly source: string
  /** Where it puts the result, by one request. Signed, too. */
  readonly result: UploadForm
  /** The deadline. */
  readonly until: Date
}

/** A service that makes styles outside, and brings each to the staging when it has. */
export interface Outside {
  /** Milliseconds that it may take. Then the file fails, with `not_delivered`. */
  readonly within: number
  /** Tells the service what to make; it is not waited for. May be called twice for the same style. */
  hand(handed: HandedOn): Promise<void>
}

/**
 * Makes styles. `imageProcessor()` is the built-in example; to write one, `process` alone is enough.
 * Errors that no retry can mend are `ProcessingError`s.
 */
export interface Processor {
  /** Whether it can read files of this content type. One that cannot is passed over, and files that none reads get no styles. */
  reads(contentType: string): boolean
  /** The form it will give a style when none is declared. Default: that of the original. */
  formatFor?(contentType: string): Format | undefined
  /** Content type and pixel size by its own reading of the bytes. Throws a `RefusedFileError` when they are not what they seem. */
  identify?(input: ProcessorInput): Promise<Identified | undefined>
  /** The service that makes the styles of files of this content type; undefined where `process()` makes them. */
  outside?(contentType: string): Outside | undefined
  /** Makes every one of these styles, and yields each as soon as it exists, in any order. */
  process(input: ProcessorInput, styles: readonly Style[]): AsyncIterable<Made>
}
