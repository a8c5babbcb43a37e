import 'reflect-metadata'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { S3Client } from '@aws-sdk/client-s3'
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm'
import { clientConfig } from '../../examples/services/s3'
import { type Attached, Attachment, Attachments, fromDirectUpload, inProcessBackground, toNodeHandler } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { memoryHeld } from './peak'

// started by benchmarks/direct.ts: a web process that takes files by itself, and lets browsers send them straight to S3

/** Has one file, a picture or not. */
@Entity()
class Upload {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { large: '800x800>', thumb: '100x100#' }, accept: 'any' })
  file!: Attached<'large' | 'thumb'>
}

interface Given {
  readonly database: string
  readonly s3: { readonly endpoint: string; readonly accessKeyId: string; readonly secretAccessKey: string }
  readonly bucket: string
  /** Whether it processes them, too. */
  readonly works: boolean
}

async function main({ database, s3, bucket, works }: Given): Promise<void> {
  const dataSource = await new DataSource({ type: 'postgres', url: database, entities: [Upload], synchronize: true, poolSize: 20 }).initialize()
  const client = new S3Client(clientConfig(s3))
  const [staging, storage] = ['staging/', 'files/'].map((prefix) => s3Storage({ client, bucket, prefix, publicUrl: null }))
  const background = works ? inProcessBackground({ concurrency: 2 }) : { enqueue: async () => undefined }
  const secret = 'only for as long as this is measured'
  const attachments = new Attachments({ staging: staging as never, storage: storage as never, background, secret })
  await attachments.connect(dataSource)
  const direct = toNodeHandler(attachments.directUploads({ authorize: () => true }))

  async function saved(source: Parameters<typeof attachments.attach>[2], fileName?: string): Promise<object> {
    const upload = new Upload()
    await attachments.attach(upload, 'file', source as never, { fileName })
    await dataSource.manager.save(upload)
    return { id: upload.id }
  }

  const routes: Record<string, (request: IncomingMessage) => Promise<object>> = {
    '/through': (request) => saved(request, 'a.jpg'),
    '/token': async (request) => saved(fromDirectUpload(((await json(request)) as { token: string }).token)),
    '/shown': async (request) => {
      const { file } = await dataSource.manager.findOneByOrFail(Upload, { id: ((await json(request)) as { id: number }).id })
      return { url: file.processing ? null : await file.signedUrl('thumb') }
    },
    '/memory': async () => memoryHeld(),
  }

  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const route = routes[request.url ?? '']
    if (!route) return void direct(request, response)
    route(request).then(
      (answer) => response.end(JSON.stringify(answer)),
      (error) => response.writeHead(500).end(String(error)),
    )
  })
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
}

main(JSON.parse(process.argv[2] as string))
