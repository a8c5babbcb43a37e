import 'reflect-metadata'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { type Attached, Attachment, Attachments, inlineBackground, memoryStorage, toNodeHandler } from '../../src'

/** What the server is asked for: a garbage collection, and what it holds then. Bytes. */
export interface Held {
  readonly heap: number
  readonly resident: number
}

@Entity()
class Note {
  @PrimaryGeneratedColumn() id!: number
  @Attachment({ accept: 'any' })
  file!: Attached
}

/** A server of streams: each page watches a file of its own. Or, for comparison, one that writes a line to each and leaves it open. */
async function main(pages: number, bare: boolean): Promise<void> {
  const dataSource = await new DataSource({ type: 'sqljs', entities: [Note], synchronize: true }).initialize()
  const background = inlineBackground()
  const attachments = new Attachments({
    staging: memoryStorage(),
    storage: memoryStorage(),
    background,
    secret: 'a secret of more than 32 characters',
  })
  await attachments.connect(dataSource)
  const tokens: string[] = []
  for (let page = 0; page < pages; page++) {
    const note = new Note()
    await attachments.attach(note, 'file', Buffer.from(`note ${page}`), { fileName: 'note.txt' })
    await dataSource.manager.save(note)
    tokens.push(note.file.watchToken())
  }
  const watch = toNodeHandler(attachments.watch()) as RequestListener
  const plain: RequestListener = (_, response) => void response.setHeader('content-type', 'text/event-stream').write('data:{}\n\n')
  const server = createServer(bare ? plain : watch).listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.on('message', async () => {
    // what is to be collected may hold more of it
    for (let round = 0; round < 6; round++) {
      globalThis.gc?.()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const { heapUsed, rss } = process.memoryUsage()
    process.send?.({ heap: heapUsed, resident: rss } satisfies Held)
  })
  process.on('disconnect', () => process.exit())
  process.send?.({ port: (server.address() as AddressInfo).port, tokens })
}

main(Number(process.argv[2]), process.argv[3] === 'bare')
