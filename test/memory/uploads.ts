import 'reflect-metadata'
import { join } from 'node:path'
import { DataSource } from 'typeorm'
import { Attachments, diskStorage, fromPath } from '../../src'
import { Person } from '../benchmarks/entities'
import { memoryHeld } from './peak'

// started by benchmarks/memory.ts: so many uploads at the same time, as they come to a web process from its framework's files

interface Given {
  readonly database: string
  readonly folder: string
  readonly picture: string
  readonly uploads: number
}

async function main({ database, folder, picture, uploads }: Given): Promise<{ before: number; peak: number }> {
  const dataSource = await new DataSource({ type: 'postgres', url: database, entities: [Person], synchronize: true }).initialize()
  const staging = diskStorage({ root: join(folder, 'uploads') })
  const attachments = new Attachments({ staging, storage: staging, background: { enqueue: async () => undefined } })
  await attachments.connect(dataSource)
  async function upload(): Promise<void> {
    const person = Object.assign(new Person(), { name: 'ada' })
    await attachments.attach(person, 'avatar', fromPath(picture))
    await dataSource.manager.save(person)
  }
  await upload()
  const before = memoryHeld().now
  await Promise.all(Array.from({ length: uploads }, upload))
  await attachments.close()
  await dataSource.destroy()
  return { before, peak: memoryHeld().peak }
}

main(JSON.parse(process.argv[2] as string)).then((held) => console.log(JSON.stringify(held)))
