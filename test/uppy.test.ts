import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type CORSRule, PutBucketCorsCommand } from '@aws-sdk/client-s3'
import type { Page } from 'playwright-core'
import { Entity, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { type Attached, Attachment, fromDirectUpload, toNodeHandler } from '../src'
import { s3Storage } from '../src/storage/s3'
import { browserPages } from './support/browser'
import { png } from './support/pictures'
import { folder, newBucket, world } from './support/world'

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { thumb: '50x50#' }, accept: ['image/png'], maxSize: '20 MB' })
  avatar!: Attached<'thumb'>
}

const docs = readFile(join(import.meta.dirname, '../docs/direct-uploads.md'), 'utf8')

/** What a page does with Uppy, word for word as the docs have it. */
async function codeOfDocs(version: 5 | 6, options: string): Promise<string> {
  const [, code = ''] = /```ts\n(import AwsS3[^`]+)```/.exec(await docs) ?? []
  const [, plugin6, plugin5 = ''] = /uppy\.use\(AwsS3, (\{.*?\})\) \/\/ Uppy 5: (\{.*?\})\n/.exec(code) ?? []
  const plugin = (version === 5 ? plugin5 : plugin6) as string
  // a browser knows neither types nor packages
  const plain = code.replace(/^import .*\n/gm, '').replace('<Meta, Body>', '')
  return plain.replace(/use\(AwsS3, .*\n/, `use(AwsS3, { ...${plugin}, ${options} })\n`)
}

/** The rule of the docs, for a page of this origin. */
async function ruleOfDocs(origin: string): Promise<CORSRule[]> {
  const [, configuration = ''] = /--cors-configuration '([^']+)'/.exec(await docs) ?? []
  return JSON.parse(configuration.replace('https://app.example.com', origin)).CORSRules
}

const html = (code: string) => `<!doctype html><input type="file"><script type="module">
  import { AwsS3, Uppy } from '/uppy.mjs'
  ${code}
  const keys = []
  uppy.on('upload-success', (_file, response) => keys.push(response?.body?.['key']))
  globalThis.uploading = async (type) => {
    const [data] = document.querySelector('input').files
    uppy.addFile({ name: data.name, type, data })
    const { successful, failed } = await uppy.upload()
    return { keys, successful: successful.length, errors: failed.map(({ error }) => error) }
  }
</script>`

interface Uploaded {
  readonly keys: string[]
  readonly successful: number
  readonly errors: string[]
}

describe.skipIf(!inject('s3').faithful || inject('chromium') === null).each([5, 6] as const)('Uppy %i', (version) => {
  const newPage = browserPages()

  /** An application with its page, the page in Chromium, and what went to S3. */
  async function setUp({ options = '', uploadBy = 'POST' }: { options?: string; uploadBy?: 'POST' | 'PUT' } = {}) {
    const { client, bucket, keys } = await newBucket()
    const place = { client, bucket, publicUrl: null, uploadBy }
    const { attachments, dataSource } = await world([User], {
      staging: s3Storage({ ...place, prefix: 'staging/' }),
      storage: s3Storage({ ...place, prefix: 'files/' }),
      secret: 'as long as secrets have to be, or longer',
    })
    const uploads = toNodeHandler(attachments.directUploads({ authorize: () => 'visitor' }))
    const bundle = await readFile(join(import.meta.dirname, `../node_modules/uppy${version}/dist/uppy.min.mjs`))
    const pageHtml = html(await codeOfDocs(version, options))
    const origin = await serve((request, response) => {
      if (request.url?.startsWith('/uploads')) return void uploads(request, response)
      const isPage = request.url === '/'
      response.setHeader('content-type', isPage ? 'text/html' : 'text/javascript').end(isPage ? pageHtml : bundle)
    })
    await client.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration: { CORSRules: await ruleOfDocs(origin) } }))
    const page = await newPage()
    const sent: string[] = []
    page.on('request', (request) => {
      if (!request.url().startsWith(origin)) sent.push(request.method())
    })
    if (version === 5) await addETag(page, `${inject('s3').endpoint}/${bucket}*`)
    await page.goto(origin)
    return { page, sent, attachments, dataSource, keys }
  }

  it.each([
    ['by a form', {}, 100_000, ['POST']],
    // for Uppy 6 sends forms only
    ...(version === 5 ? [['by PUT', { uploadBy: 'PUT' }, 100_000, ['PUT']] as const] : []),
    ['in parts', { options: 'shouldUseMultipart: true' }, 11 * 2 ** 20, ['PUT', 'PUT', 'PUT']],
  ] as const)('sends a file %s, and its key is what fromDirectUpload() takes', async (_, options, size, requests) => {
    const { page, sent, attachments, dataSource } = await setUp(options)
    const picture = Buffer.concat([await png(), randomBytes(size)])
    const { keys, ...result } = await uploading(page, 'me.png', picture, 'image/png')
    expect({ ...result, sent }).toEqual({ successful: 1, errors: [], sent: requests })
    const user = new User()
    await attachments.attach(user, 'avatar', fromDirectUpload(keys[0] as string, { subject: 'visitor' }))
    await dataSource.manager.save(user)
    await attachments.idle()
    const { avatar } = await dataSource.manager.findOneByOrFail(User, { id: user.id })
    expect(avatar).toMatchObject({ processing: false, error: null, fileName: 'me.png', fileSize: picture.length })
    expect((await buffer(await avatar.stream())).equals(picture)).toBe(true)
  })

  it('tells in words why a file is not taken', async () => {
    const { page, sent, keys } = await setUp()
    const { successful, errors } = await uploading(page, 'me.svg', Buffer.from('<svg/>'), 'image/svg+xml')
    expect([successful, errors, sent]).toEqual([0, [expect.stringContaining('User.avatar does not take image/svg+xml')], []])
    expect((await keys()).filter((key) => key.includes('User'))).toEqual([])
  })
})

/** Chooses a file, and has Uppy upload it. */
async function uploading(page: Page, name: string, bytes: Uint8Array, type: string): Promise<Uploaded> {
  const path = join(await folder(), name)
  await writeFile(path, bytes)
  await page.locator('input').setInputFiles(path)
  return page.evaluate((type) => Object(globalThis)['uploading'](type), type)
}

/** Answers to forms get the ETag that they have from AWS, and not from Ceph. Uppy 5 would wait for it for ever. */
async function addETag(page: Page, urlPattern: string): Promise<void> {
  const session = await page.context().newCDPSession(page)
  session.on('Fetch.requestPaused', ({ requestId, request, responseStatusCode, responseHeaders = [] }) => {
    const added = request.method === 'POST' ? [{ name: 'ETag', value: '"as AWS says it"' }] : []
    session.send('Fetch.continueResponse', { requestId, responseCode: responseStatusCode, responseHeaders: [...responseHeaders, ...added] })
  })
  await session.send('Fetch.enable', { patterns: [{ urlPattern, requestStage: 'Response' }] })
}

/** A server on this machine, gone when the test ends. Its origin. */
async function serve(listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
