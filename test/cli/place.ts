import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { inject, onTestFinished } from 'vitest'
import { diskStorage } from '../../src'
import { postgres } from '../support/databases'
import { jpeg } from '../support/pictures'
import { tableBackground } from '../support/table-background'
import { database, folder, world } from '../support/world'
import { Photo } from './photo'

/** A web process, which is the test itself, and what it shares with the workers that it starts. */
export async function place() {
  const path = await folder()
  const options = (await postgres.create()) as { url: string }
  const pool = new pg.Pool({ connectionString: options.url })
  pool.on('error', () => undefined)
  onTestFinished(() => pool.end())
  const dataSource = await database([Photo], options)
  const staging = diskStorage({ root: join(path, 'staging') })
  const storage = diskStorage({ root: join(path, 'files') })
  const { attachments } = await world([Photo], { dataSource, staging, storage, background: tableBackground({ pool }) })
  const photos = dataSource.getRepository(Photo)
  const name = new URL(options.url).pathname.slice(1)
  return {
    env: { TEST_DATABASE: `${options.url}?application_name=worker`, TEST_FOLDER: path },
    photos,
    /** Writes a file for the command; its path. */
    async file(name: string, text: string): Promise<string> {
      await writeFile(join(path, name), text)
      return join(path, name)
    },
    async save(): Promise<Photo> {
      const photo = photos.create({})
      await attachments.attach(photo, 'picture', await jpeg())
      return photos.save(photo)
    },
    /** Ends the workers' connections to the database, which gives them no others. */
    async cutOff() {
      await server(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS false`)
      await server(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}' AND application_name = 'worker'`)
    },
    letIn: () => server(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS true`),
    /** See `parts.ts`. */
    shut: () => writeFile(join(path, 'shut'), ''),
    open: () => rm(join(path, 'shut')),
    refuse: () => writeFile(join(path, 'refuse'), ''),
    isWaiting: () => existsSync(join(path, 'waiting')),
  }
}

async function server(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject('postgres') })
  await client.connect()
  await client.query(sql).finally(() => client.end())
}
