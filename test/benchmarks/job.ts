import { randomBytes } from 'node:crypto'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { createDatabase, startPostgres } from '../../examples/services/postgres'
import { type Attached, Attachment, Attachments, type BackgroundAdapter, fromPath, type Job, memoryStorage, type Perform } from '../../src'
import type { Wanted } from './peers'

/** Whole jobs, on real rows, as they are measured: from the moment when a worker has them to the last statement. */
export interface Jobs {
  /** Performs a job for such a picture, so many times at most; attaching and saving are not part of it. */
  of(path: string, wanted: Pick<Wanted, 'styles'>, times: number): Promise<() => Promise<void>>
  close(): Promise<void>
}

/** A background that holds jobs until they are asked for. */
export function heldJobs(): { readonly background: BackgroundAdapter; readonly jobs: Job[]; performNext(): Promise<void> } {
  let perform: Perform = () => Promise.reject(new Error('not started'))
  const jobs: Job[] = []
  const background: BackgroundAdapter = {
    start(given) {
      perform = given
    },
    enqueue: async (job) => void jobs.push(job),
  }
  return {
    background,
    jobs,
    async performNext() {
      const { result } = await perform(jobs.shift() as Job, 1)
      if (result !== 'done') throw new Error(`a job ended as ${result}`)
    },
  }
}

/** With storages in memory. */
export async function openJobs(): Promise<Jobs> {
  const postgres = await startPostgres()
  const opened: Array<() => Promise<void>> = []
  return {
    async of(path, { styles }, times) {
      const Picture = entityWith(styles)
      const name = `bench_${randomBytes(4).toString('hex')}`
      await createDatabase(postgres.url('postgres'), name)
      const dataSource = await new DataSource({ type: 'postgres', url: postgres.url(name), entities: [Picture], synchronize: true }).initialize()
      const { background, performNext } = heldJobs()
      const attachments = new Attachments({ staging: memoryStorage(), storage: memoryStorage({ publicUrl: '/' }), background })
      await attachments.connect(dataSource)
      opened.push(async () => {
        await attachments.close()
        await dataSource.destroy()
      })
      async function attach(): Promise<void> {
        const owner = new Picture()
        await attachments.attach(owner, 'file', fromPath(path))
        await dataSource.manager.save(owner)
      }
      for (let at = 0; at < times; at++) await attach()
      return performNext
    },
    async close() {
      for (const close of opened) await close()
      await postgres.stop()
    },
  }
}

function entityWith(styles: Wanted['styles']): new () => { id: number; file: Attached } {
  class Picture {
    id!: number
    file!: Attached
  }
  const options = Object.fromEntries(styles.map(({ name, ...style }) => [name, style]))
  PrimaryGeneratedColumn()(Picture.prototype, 'id')
  Attachment({ styles: options, accept: 'any' })(Picture.prototype as never, 'file')
  Entity()(Picture)
  return Picture
}
