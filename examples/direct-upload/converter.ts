import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import sharp from 'sharp'
import type { HandedOn } from 'typeorm-attachments'
import { needed } from './settings'

// A service that knows nothing of the app, of its bucket, or of its database: it is told where a text is, and where a picture of its
// first page has to be by when.

type Order = Pick<HandedOn, 'source' | 'result'> & { readonly until: string }

const [width, height, size] = [600, 800, 14]

async function convert({ source, result, until }: Order): Promise<void> {
  const text = await (await fetch(source)).text()
  const body = new Uint8Array(
    await sharp(Buffer.from(pageOf(text)))
      .png()
      .toBuffer(),
  )
  for (let pause = 500; Date.now() + pause < Date.parse(until); pause *= 2) {
    const answer = await fetch(result.url, { method: result.method, headers: result.headers, body }).catch(() => undefined)
    if (answer?.ok) return
    console.error(`the picture was not taken: ${answer ? await answer.text() : 'no answer'}`)
    await setTimeout(pause)
  }
}

/** The first page of a text, as SVG. */
function pageOf(text: string): string {
  const lines = text.split(/\r?\n/).flatMap((line) => line.match(/.{1,64}/gu) ?? [''])
  const spans = lines.slice(0, 36).map((line, at) => `<tspan x="40" y="${60 + at * 20}">${escaped(line)}</tspan>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
    <rect width="100%" height="100%" fill="#fff"/>
    <text font-family="monospace" font-size="${size}" fill="#223" xml:space="preserve">${spans.join('')}</text>
  </svg>`
}

/** Text as XML shows it, without what XML cannot hold. */
function escaped(text: string): string {
  return text.replace(/[^\t\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '�').replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`)
}

const server = createServer(async (request, response) => {
  const order = (await json(request)) as Order
  // it is done when the picture is in its place: nobody waits here
  response.writeHead(202, { connection: 'close' }).end()
  await convert(order).catch(console.error)
})

server.listen(Number(needed('CONVERTER_PORT')), '127.0.0.1')
process.once('SIGTERM', () => server.close())
