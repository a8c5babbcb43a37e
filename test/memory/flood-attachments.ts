import type { S3Server } from '../../examples/services/s3'
import { graphileBackground } from '../../src/background/graphile'
import { connectPosters } from './posters'

// given to the command, and to flood-program.ts: attachments whose pictures wait already

export interface Flood {
  readonly database: string
  readonly s3: S3Server
}

const { database, s3 }: Flood = JSON.parse(process.env['FLOOD'] as string)

export const attachments = connectPosters(database, s3, graphileBackground({ connectionString: database })).then(({ attachments }) => attachments)
