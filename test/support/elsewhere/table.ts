import pg from 'pg'
import { tableBackground } from '../table-background'

/** The table background of a test, in another process. */
export const makeBackground = async () => tableBackground({ pool: new pg.Pool({ connectionString: process.env['CONTRACT_DATABASE'] }), lease: 500 })
