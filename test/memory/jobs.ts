import 'reflect-metadata'
import { join } from 'node:path'
import { DataSource } from 'typeorm'
import { Attachments, diskStorage, inProcessBackground } from '../../src'
import { Person } from '../benchmarks/entities'
import { jpeg } from '../support/pictures'
import { memoryHeld } from './peak'

// started by benchmarks/memory.ts: so many jobs, and what the process holds after each tenth of them

interface Given {
  readonly database: string
  readonly folder: string
  readonly jobs: number
}

async function main({ database, folder, jobs }: Given): Promise<{ held: readonly number[] }> {
  const dataSource = await new DataSource({ type: 'postgres', url: database, entities: [Person], synchronize: true }).initialize()
  const background = inProcessBackground({ concurrency: 4 })
  const storage = diskStorage({ root: join(folder, 'files') })
  const attachments = new Attachments({ staging: diskStorage({ root: join(folder, 'jobs') }), storage, background })
  await attachments.connect(dataSource)
  const picture = await jpeg()
  const held: number[] = []
  for (let tenth = 0; tenth < 10; tenth++) {
    for (let at = 0; at < jobs / 10; at++) {
      const person = Object.assign(new Person(), { name: 'ada' })
      await attachments.attach(person, 'avatar', picture, { fileName: 'me.jpg' })
      await dataSource.manager.save(person)
    }
    await attachments.idle()
    global.gc?.()
    held.push(memoryHeld().now)
  }
  await attachments.close()
  await dataSource.destroy()
  return { held }
}

main(JSON.parse(process.argv[2] as string)).then((held) => console.log(JSON.stringify(held)))
