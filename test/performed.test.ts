import pg from 'pg'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { expect, it, onTestFinished, vi } from 'vitest'
import { type Attached, Attachment, type PerformedJob, StorageError } from '../src'
import { door, watched } from './support/doubles'
import { tableBackground } from './support/table-background'
import { newDatabase, world } from './support/world'

@Entity()
class Paper {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ accept: 'any' })
  file!: Attached | null
}

async function papers() {
  const pool = new pg.Pool({ connectionString: await newDatabase() })
  onTestFinished(() => pool.end())
  const storage = watched()
  const { attachments, dataSource } = await world([Paper], { background: tableBackground({ pool }), storage })
  const save = async () => {
    const paper = new Paper()
    await attachments.attach(paper, 'file', Buffer.from('text'))
    return dataSource.manager.save(paper)
  }
  return { attachments, storage, save }
}

it('a worker knows what it performs, and tells of each job how its attempt ended', async () => {
  const { attachments, storage, save } = await papers()
  const { id } = await save()
  const shut = door()
  storage.beforeWrite = async () => {
    if (shut.came > 0) return
    await shut.pass()
    throw new StorageError('no_room', 'the storage is full')
  }
  const told: PerformedJob[] = []
  const worker = await attachments.work({ concurrency: 1, onJob: (performed) => told.push(performed) })
  await vi.waitUntil(() => shut.came > 0, 20_000)
  expect([...worker.running]).toMatchObject([{ kind: 'process', entity: 'Paper', id: { id } }])
  expect(worker).toMatchObject({ concurrency: 1, queues: ['default'] })
  shut.open()
  await vi.waitUntil(() => told.length === 2, 20_000)
  expect(worker.running.size).toBe(0)
  const job = expect.objectContaining({ kind: 'process', id: { id } })
  const ms = expect.any(Number)
  const error = { code: 'no_room', message: 'the storage is full' }
  expect(told).toEqual([
    { job, attempt: 1, ms, result: 'later', delay: 1, styles: [], bytes: 0, error },
    { job, attempt: 2, ms, result: 'done', styles: ['original'], bytes: 4 },
  ])
})

it('who is told and throws spoils no job, and is warned', async () => {
  const { attachments, save } = await papers()
  await save()
  const warnings: string[] = []
  const listen = ({ message }: Error) => warnings.push(message)
  process.on('warning', listen)
  onTestFinished(() => void process.off('warning', listen))
  const results: string[] = []
  await attachments.work({
    onJob: ({ result }) => {
      results.push(result)
      throw new Error('no ink')
    },
  })
  await vi.waitUntil(() => warnings.length > 0, 20_000)
  expect([results, warnings]).toEqual([['done'], ['onJob failed: no ink']])
})
