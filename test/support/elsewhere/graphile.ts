import { graphileBackground } from '../../../src/background/graphile'

/** The queue of a test, in another process. */
export const makeBackground = async () => graphileBackground({ connectionString: process.env['CONTRACT_DATABASE'] })
