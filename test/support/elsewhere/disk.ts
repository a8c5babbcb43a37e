import { diskStorage } from '../../../src/storage/disk'

/** The disk storage of a test, in another process. */
export const makeStorage = async () => diskStorage({ root: process.env['CONTRACT_ROOT'] as string })
