import 'reflect-metadata'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { DataSource } from 'typeorm'
import { type AttachmentsOptions, diskStorage, type Storage } from '../../src'
import { tableBackground } from '../support/table-background'
import { Photo } from './photo'

// what the modules are made of that tests give to the command

/** A folder of the test's. `refuse` in it: nothing can be written to the storage; `shut`: what is written waits, and says so by `waiting`. */
const folder = process.env['TEST_FOLDER'] as string
const url = process.env['TEST_DATABASE'] as string

function storage(): Storage {
  const inner = diskStorage({ root: join(folder, 'files') })
  return {
    ...inner,
    async write(key, body, info) {
      if (existsSync(join(folder, 'refuse'))) throw new Error('no room')
      while (existsSync(join(folder, 'shut'))) {
        writeFileSync(join(folder, 'waiting'), '')
        await sleep(20)
      }
      await inner.write(key, body, info)
    },
  }
}

export function options(): AttachmentsOptions {
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => undefined)
  return {
    staging: diskStorage({ root: join(folder, 'staging') }),
    storage: storage(),
    background: tableBackground({ pool, lease: 500 }),
    retry: { attempts: 2, backoff: () => 1 },
  }
}

export { Attachments, inlineBackground, inProcessBackground } from '../../src'
export const dataSource = () => new DataSource({ type: 'postgres', url, entities: [Photo] })
