import pg from 'pg'
import { Attachments, diskStorage, type Storage } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { tableBackground } from '../support/table-background'
import { openPlace, type Place } from './place'

/** A machine that works on the jobs of a place, with a staging of its own, or one that it shares. */
export interface Machine {
  readonly place: Place
  /** A folder, or what is put before keys in the place's bucket. */
  readonly staging: { readonly root: string } | { readonly prefix: string }
  /** Milliseconds that a file waits for a worker that sees its staging. */
  readonly elsewhere: number
}

export interface OpenMachine extends Awaited<ReturnType<typeof openPlace>> {
  readonly attachments: Attachments
}

/** What a process is on such a machine. A job may be tried once. */
export async function openMachine({ place, staging, elsewhere }: Machine): Promise<OpenMachine> {
  const opened = await openPlace(place)
  const { client, dataSource, storage } = opened
  const own: Storage = 'root' in staging ? diskStorage(staging) : s3Storage({ client, bucket: place.bucket, prefix: staging.prefix, publicUrl: null })
  const pool = new pg.Pool({ connectionString: place.database })
  const attachments = new Attachments({ staging: own, storage, background: tableBackground({ pool }), retry: { attempts: 1, elsewhere } })
  await attachments.connect(dataSource)
  return {
    ...opened,
    staging: own,
    attachments,
    close: async () => {
      await attachments.close()
      await pool.end()
      await opened.close()
    },
  }
}
