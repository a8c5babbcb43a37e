import { RefusedFileError, UsageError } from '../errors'

/** A request that cannot be meant: its form is wrong, whoever sends it. */
export const badRequest = (message: string) => new UsageError('bad_request', message)

/** @param size what was announced, in bytes; as below */
export const tooLarge = (size: number) => new RefusedFileError('too_large', `the file has more than the ${size} bytes that were announced`)

export const tooSmall = (size: number) => new RefusedFileError('size_mismatch', `the file has fewer than the ${size} bytes that were announced`)

export const alreadyUploaded = () => new UsageError('already_uploaded', 'this upload was made already: ask for another one')
