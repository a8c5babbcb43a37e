import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import sharp, { type Sharp } from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { RefusedFileError, StorageError, UsageError } from '../src/errors'
import { accepts, contentTypeOf } from '../src/file/content-type'
import { cleanFileName } from '../src/file/file-name'
import { jpegEnd } from '../src/file/jpeg-end'
import { measured, type Passing } from '../src/file/measure'
import { fromPath, letGo, openSource } from '../src/file/source'
import { picture, withSegment } from './support/pictures'
import { folder } from './support/world'

/** What a multipart parser makes of a UTF-8 name when it reads it as Latin-1. */
const mangled = (name: string) => Buffer.from(name, 'utf8').toString('latin1')

describe('a file name', () => {
  it.each([
    // read as Latin-1, repaired
    ['Ã©tÃ©.jpg', 'été.jpg'],
    [mangled('文件 照片.jpg'), '文件 照片.jpg'],
    [mangled('😀 party.png'), '😀 party.png'],
    [mangled('Ñandú – größte.pdf'), 'Ñandú – größte.pdf'],
    [mangled('صورة.jpg'), 'صورة.jpg'],
    [mangled('写真/../印.jpg'), '印.jpg'],

    // right already, left alone
    ['été.jpg', 'été.jpg'],
    ['文件.jpg', '文件.jpg'],
    ['😀.jpg', '😀.jpg'],
    ['Ã© and 文.jpg', 'Ã© and 文.jpg'],
    ['naïve café.txt', 'naïve café.txt'],
    ['price £5 ©.txt', 'price £5 ©.txt'],
    ['me at the sea (1).jpg', 'me at the sea (1).jpg'],
    ['100% & more #1?.jpg', '100% & more #1?.jpg'],
    ['backup.tar.gz', 'backup.tar.gz'],
    ['.htaccess', '.htaccess'],
    ['x:class.jpg', 'x:class.jpg'],
    ['👨‍👩‍👧.jpg', '👨‍👩‍👧.jpg'],

    // the last part of a path
    ['../../etc/passwd', 'passwd'],
    ['/etc/passwd', 'passwd'],
    ['C:\\fakepath\\x.jpg', 'x.jpg'],
    ['..\\..\\x.jpg', 'x.jpg'],
    ['a/b\\c.jpg', 'c.jpg'],
    ['folder/', 'file'],

    // nothing left
    ['', 'file'],
    ['.', 'file'],
    ['..', 'file'],
    ['...', 'file'],
    ['   ', 'file'],
    [' .. ', 'file'],
    ['a/..', 'file'],
    ['\u0000\u0001\u001f\u007f', 'file'],
    ['\u202e\u200f\ufeff', 'file'],
    ['.\u202e.', 'file'],
    ['\ud83d', 'file'],

    // what nobody sees
    ['a\u0000b\nc\r\td.jpg', 'abcd.jpg'],
    ['photo\u202egpj.exe', 'photogpj.exe'],
    ['\u2066a\u2069\u200e\u200f\u061c\u2028\u2029.jpg', 'a.jpg'],
    ['\ufeffbom.csv', 'bom.csv'],
    ['half \ud83d character.jpg', 'half  character.jpg'],
    ['trailing.jpg   ', 'trailing.jpg'],
    ['  leading.jpg', 'leading.jpg'],
    ['\u0000 both .jpg \u0000', 'both .jpg'],
    ['e\u0301.jpg', 'é.jpg'],
  ])('%j is %j', (given, name) => {
    expect(cleanFileName(given)).toBe(name)
  })

  it.each([
    ['ten kilobytes', `${'x'.repeat(10_240)}.jpg`, `${'x'.repeat(251)}.jpg`],
    ['exactly 255 bytes', `${'x'.repeat(251)}.jpg`, `${'x'.repeat(251)}.jpg`],
    ['characters of two bytes', `${'é'.repeat(5_000)}.jpg`, `${'é'.repeat(125)}.jpg`],
    ['characters of four bytes', `${'😀'.repeat(3_000)}.jpg`, `${'😀'.repeat(62)}.jpg`],
    ['mangled characters', mangled(`${'文'.repeat(3_000)}.jpg`), `${'文'.repeat(83)}.jpg`],
    ['a long extension', `${'x'.repeat(300)}.${'y'.repeat(20)}`, `${'x'.repeat(234)}.${'y'.repeat(20)}`],
    ['an extension that is none', `a.${'y'.repeat(300)}`, `a.${'y'.repeat(253)}`],
    ['no extension', '文'.repeat(300), '文'.repeat(85)],
  ])('of %s is shortened to 255 bytes with its extension', (_what, given, name) => {
    expect(cleanFileName(given)).toBe(name)
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255)
  })

  it('is harmless whatever was given', () => {
    const given = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string(),
      fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    )
    fc.assert(
      fc.property(given, (text) => {
        const name = cleanFileName(text)
        expect(name).not.toMatch(/[\p{Cc}\p{Cs}/\\\u202e]/u)
        expect(name).not.toMatch(/^\.*$/)
        expect(name).toBe(name.trim())
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255)
      }),
      { numRuns: 300 },
    )
  })

  it('is repaired back to what it was, if that can be told', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        // a name of ASCII and Latin-1 only may be right as it is
        fc.pre(/[^\0-\u00ff]/.test(text))
        expect(cleanFileName(mangled(text))).toBe(cleanFileName(text))
      }),
    )
  })
})

describe('the content type', () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg"><rect width="1" height="1"/></svg>'
  const script = '<html><script>alert(1)</script></html>'
  const drawn = (write: (image: Sharp) => Sharp) => write(picture(16, 16)).toBuffer()
  const unknown = 'application/octet-stream'

  const cases: Array<[what: string, head: () => Promise<Buffer> | Buffer | string, fileName: string, type: string, hint?: string]> = [
    ['a JPEG', () => drawn((image) => image.jpeg()), 'x.jpg', 'image/jpeg'],
    ['a PNG', () => drawn((image) => image.png()), 'x.png', 'image/png'],
    ['an animated PNG', async () => animatedPng(await drawn((image) => image.png())), 'x.png', 'image/png'],
    ['a GIF', () => drawn((image) => image.gif()), 'x.gif', 'image/gif'],
    ['a WebP', () => drawn((image) => image.webp()), 'x.webp', 'image/webp'],
    ['an AVIF', () => drawn((image) => image.avif()), 'x.avif', 'image/avif'],
    ['a TIFF', () => drawn((image) => image.tiff()), 'x.tiff', 'image/tiff'],
    ['a JPEG called .png', () => drawn((image) => image.jpeg()), 'x.png', 'image/jpeg'],
    ['a JPEG said to be text', () => drawn((image) => image.jpeg()), 'x.csv', 'image/jpeg', 'text/csv'],
    ['a PDF', () => '%PDF-1.7\n%\u00e2\u00e3', 'x.pdf', 'application/pdf'],
    ['a PDF called .jpg', () => '%PDF-1.7\n', 'x.jpg', 'application/pdf'],
    ['a zip', () => zip(), 'x.zip', 'application/zip'],
    ['a gzip', () => Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), 'x.gz', 'application/gzip'],
    ['an MP4', () => Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypisom\0\0\u0002\0isomiso2')]), 'x.mp4', 'video/mp4'],
    [
      'an MP3',
      () => Buffer.concat([Buffer.from('ID3\u0003\0\0\0\0\0\0'), Buffer.from([0xff, 0xfb, 0x90, 0x64]), Buffer.alloc(500)]),
      'x.mp3',
      'audio/mpeg',
    ],

    ['an SVG', () => svg, 'x.svg', 'image/svg+xml'],
    ['an SVG called .txt', () => svg, 'x.txt', 'image/svg+xml'],
    ['an SVG said to be text', () => svg, 'x.svg', 'image/svg+xml', 'text/plain'],
    ['an SVG with a prolog', () => `<?xml version="1.0" encoding="UTF-8"?>\n${svg}`, 'x.svg', 'image/svg+xml'],
    ['an SVG with a prolog, called .xml', () => `<?xml version="1.0"?>${svg}`, 'x.xml', 'image/svg+xml'],
    ['an SVG with a style sheet', () => `<?xml version="1.0"?><?xml-stylesheet href="a.css"?>${svg}`, 'x.svg', 'image/svg+xml'],
    ['an SVG with comments', () => `<!-- made by <svg-maker> -->\n<!-- twice -->${svg}`, 'x.svg', 'image/svg+xml'],
    [
      'an SVG with all of it',
      () => `<?xml version="1.0"?>\n<!-- a -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd">\n<!-- b -->${svg}`,
      'x',
      'image/svg+xml',
    ],
    ['an SVG with entities', () => `<!DOCTYPE svg [<!ENTITY a "b>c">\n<!ENTITY d "e">] >${svg}`, 'x.svg', 'image/svg+xml'],
    ['an SVG after a byte order mark', () => `\ufeff  \n${svg}`, 'x.svg', 'image/svg+xml'],
    ['an SVG in capitals', () => svg.toUpperCase(), 'x.svg', 'image/svg+xml'],
    ['text that mentions an SVG', () => `look: ${svg}`, 'x.svg', 'text/plain'],
    ['XML with a name that says nothing', () => '<?xml version="1.0"?><feed/>', 'x', 'application/xml'],
    ['XML called .xml', () => '<?xml version="1.0"?><feed/>', 'x.xml', 'application/xml'],
    ['XML called .svg', () => '<?xml version="1.0"?><feed/>', 'x.svg', 'application/xml'],
    ['XML called .atom', () => '<?xml version="1.0"?><feed/>', 'x.atom', 'application/atom+xml'],

    ['HTML called .html', () => script, 'x.html', 'text/html'],
    ['HTML called .png', () => script, 'x.png', 'text/plain'],
    ['HTML called .svg', () => script, 'x.svg', 'text/plain'],
    ['HTML said to be a picture', () => script, 'x.png', 'text/plain', 'image/png'],
    ['HTML said to be an SVG', () => script, 'x.svg', 'text/plain', 'image/svg+xml'],
    ['CSV by its name', () => 'name;age\nAda;36\n', 'people.csv', 'text/csv'],
    ['JSON by its name', () => '{"a":1}', 'a.json', 'application/json'],
    ['JSON by a hint', () => '{"a":1}', 'a', 'application/json', 'application/json'],
    ['JSON by a hint against its name', () => '{"a":1}', 'a.csv', 'application/json', 'application/json'],
    ['JSON of another name', () => '{"a":1}', 'a', 'application/ld+json', 'application/ld+json'],
    ['text with a name that says nothing', () => 'hello', 'x', 'text/plain'],
    ['text called .zip', () => 'hello', 'x.zip', 'text/plain'],
    ['text with umlauts', () => 'größer', 'x.txt', 'text/plain'],

    ['junk', () => Buffer.from('00ff13378899aabb', 'hex'), 'x', unknown],
    ['junk called .csv', () => Buffer.from('00ff13378899aabb', 'hex'), 'x.csv', unknown],
    ['junk said to be JSON', () => Buffer.from('00ff13378899aabb', 'hex'), 'x', unknown, 'application/json'],
    ['junk without a zero', () => Buffer.from('a3b1c2d3e4f5a6b7c8', 'hex'), 'x.csv', unknown],
    ['three bytes of junk', () => Buffer.from('808182', 'hex'), 'x.csv', unknown],
    ['text with junk at its end', () => Buffer.concat([Buffer.from('hello '), Buffer.from('808182', 'hex')]), 'x.csv', unknown],
    ['text with a zero byte', () => 'hello\0world', 'x.txt', unknown],
  ]
  it.each(cases)('of %s', async (_what, head, fileName, type, hint) => {
    const bytes = await head()
    expect(await contentTypeOf(Buffer.from(bytes as Buffer), fileName, hint)).toBe(type)
  })

  it('is that of a TIFF whose directory stands at its end, of which the head says only that', async () => {
    const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const
    const bytes = await sharp({ create: { width: 200, height: 200, channels: 3, background: '#fff', noise } })
      .tiff({ compression: 'none' })
      .toBuffer()
    expect(await contentTypeOf(bytes.subarray(0, 4096), 'scan')).toBe('image/tiff')
  })

  it.each(['é', '文', '😀'])('of text that is cut in the middle of %s at the end of its head', async (character) => {
    const text = Buffer.from('a'.repeat(100) + character)
    for (let cut = 1; cut < Buffer.byteLength(character); cut++) {
      expect(await contentTypeOf(text.subarray(0, text.length - cut), 'x.csv')).toBe('text/csv')
    }
  })

  it.each([
    ['comments', '<!---->', 28],
    ['document types', '<!DOCTYPE[]>', 28],
    ['prologs', '<?xml?>', 28],
    ['of each', '<?xml?><!----><!DOCTYPE[]>', 10],
  ])('of text that only begins like an SVG, with many %s, is told at once', async (_what, piece, times) => {
    // enough to see exponential time, and little enough to see it end
    const head = Buffer.from(`${piece.repeat(times)}x`)
    const start = performance.now()
    await contentTypeOf(head, 'x.svg')
    expect(performance.now() - start).toBeLessThan(300)
  })
})

describe('accept', () => {
  it.each([
    [['image/jpeg'], 'image/jpeg', true],
    [['image/jpeg'], 'image/png', false],
    [['application/pdf', 'image/png'], 'image/png', true],
    [['image/*'], 'image/svg+xml', true],
    [['image/*'], 'imagery/png', false],
    [['image/*'], 'application/image', false],
    [['text/csv'], 'text/csv-schema', false],
    [[], 'image/png', false],
    ['any', 'application/octet-stream', true],
  ] as const)('%j of %s: %j', (accept, type, taken) => {
    expect(accepts(accept, type)).toBe(taken)
  })
})

const contentOf = async (content: Readable | Buffer) => (Buffer.isBuffer(content) ? content : buffer(content))

describe('measuring a source', () => {
  const measuredStream = (source: Readable, limits: { maxSize: number }) => measured(source, limits) as Passing & { body: Readable }
  const noise = (length: number) => Buffer.from(Uint32Array.from({ length: length / 4 }, (_, at) => Math.imul(at + 1, 2_654_435_761)).buffer)
  const inPieces = (bytes: Buffer, size: number) =>
    Readable.from(Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size)))

  it.each([
    [1, 1],
    [64 * 1024, 1000],
    [64 * 1024 + 4, 64 * 1024],
    [3_000_000, 65_521],
    [3_000_000, 3_000_000],
  ])('of %i bytes in pieces of %i passes it on, and tells size, digest and head', async (length, size) => {
    const bytes = length < 4 ? Buffer.alloc(length, 7) : noise(length)
    const { body: stream, facts: told } = measuredStream(inPieces(bytes, size), { maxSize: length })
    expect((await buffer(stream)).equals(bytes)).toBe(true)
    const { head, ...facts } = await told
    expect(facts).toEqual({ size: length, fingerprint: createHash('sha256').update(bytes).digest('hex'), cutShort: false })
    expect(head.equals(bytes.subarray(0, 64 * 1024))).toBe(true)
  })

  it('takes typed arrays and text as bytes', async () => {
    const { body: stream, facts: told } = measuredStream(Readable.from([new Uint8Array([0xc3, 0xa9]), 'é']), { maxSize: 100 })
    expect(await buffer(stream)).toEqual(Buffer.from('éé'))
    expect(await told).toMatchObject({ size: 4, head: Buffer.from('éé') })
  })

  it('tells of a JPEG that ends too early', async () => {
    const whole = await picture(60, 40).jpeg().toBuffer()
    for (const [bytes, cutShort] of [
      [whole, false],
      [whole.subarray(0, whole.length - 2), true],
    ] as const) {
      const { body: stream, facts: told } = measuredStream(inPieces(bytes, 100), { maxSize: 1e6 })
      await buffer(stream)
      expect((await told).cutShort).toBe(cutShort)
    }
  })

  it('stops as soon as maxSize is passed: the source is asked for little more, and left to whoever opened it', async () => {
    let given = 0
    const source = new Readable({
      highWaterMark: 16 * 1024,
      read(size) {
        given += size
        this.push(Buffer.alloc(size))
      },
    })
    let passed = 0
    const reading = (async () => {
      for await (const chunk of measuredStream(source, { maxSize: 1_000_000 }).body) passed += chunk.length
    })()
    await expect(reading).rejects.toMatchObject({ name: 'RefusedFileError', code: 'too_large', message: expect.stringContaining('1000000') })
    expect(passed).toBeLessThanOrEqual(1_000_000)
    await setImmediate()
    expect(given).toBeLessThanOrEqual(1_000_000 + 4 * 16 * 1024)
    expect(source.destroyed).toBe(false)
    letGo(source)
    expect(source.destroyed).toBe(true)
  })

  it('counts maxSize to the byte', async () => {
    await expect(buffer(measuredStream(inPieces(noise(1000), 300), { maxSize: 1000 }).body)).resolves.toHaveLength(1000)
    await expect(buffer(measuredStream(inPieces(noise(1000), 300), { maxSize: 999 }).body)).rejects.toMatchObject({ code: 'too_large' })
  })

  it('says that the source failed, and why', async () => {
    const cause = new Error('connection reset')
    const source = new PassThrough()
    source.write('half')
    const { body: stream } = measuredStream(source, { maxSize: 100 })
    const reading = (async () => {
      for await (const _ of stream) source.destroy(cause)
    })()
    await expect(reading).rejects.toMatchObject({
      name: 'RefusedFileError',
      code: 'source_failed',
      cause,
      message: expect.stringContaining('connection reset'),
    })
    expect(source.destroyed).toBe(true)
  })

  it('says so too when the source is closed without a word', async () => {
    const source = new PassThrough()
    source.write('half')
    const reading = (async () => {
      for await (const _ of measuredStream(source, { maxSize: 100 }).body) source.destroy()
    })()
    await expect(reading).rejects.toMatchObject({ code: 'source_failed' })
  })

  it('leaves an error of the library as it is', async () => {
    const error = new StorageError('object_missing', 'gone')
    const source = new Readable({ read: () => undefined }).destroy(error)
    await expect(buffer(measuredStream(source, { maxSize: 100 }).body)).rejects.toBe(error)
  })

  it('of bytes tells the same as of a stream, and refuses at once what is too large', async () => {
    const bytes = noise(1_000_000)
    const { body, size, facts } = measured(bytes, { maxSize: 1_000_000 })
    expect(body).toBe(bytes)
    expect(size).toBe(1_000_000)
    const streamed = measuredStream(inPieces(bytes, 1000), { maxSize: 1_000_000 })
    await buffer(streamed.body)
    expect(await facts).toEqual(await streamed.facts)
    expect(() => measured(bytes, { maxSize: 999_999 })).toThrow(expect.objectContaining({ code: 'too_large' }))
  })

  it('says nothing of a stream that nobody reads to its end', async () => {
    const { body, facts } = measuredStream(inPieces(noise(1_000_000), 1000), { maxSize: 1_000_000 })
    for await (const _ of body) break
    await expect(facts).rejects.toThrow('not read to its end')
  })

  it.each([
    ['nothing at all', () => Readable.from([])],
    ['an empty Buffer', () => Readable.from([Buffer.alloc(0)])],
    ['an empty Buffer, opened', async () => (await openSource(Buffer.alloc(0))).content],
    ['an empty Blob, opened', async () => (await openSource(new Blob([]))).content],
  ])('refuses %s as empty', async (_what, source) => {
    const reading = async () => contentOf(measured(await source(), { maxSize: 100 }).body)
    await expect(reading()).rejects.toMatchObject({ name: 'RefusedFileError', code: 'empty' })
  })

  it("refuses what busboy's own limit has cut off, with the cure", async () => {
    const source = Object.assign(Readable.from([Buffer.from('half')]), { truncated: true })
    await expect(buffer(measuredStream(source, { maxSize: 100 }).body)).rejects.toMatchObject({
      name: 'RefusedFileError',
      code: 'too_large',
      message: expect.stringMatching(/multipart parser's own size limit: raise it/),
    })
    const whole = Object.assign(Readable.from([Buffer.from('whole')]), { truncated: false })
    await expect(buffer(measuredStream(whole, { maxSize: 100 }).body)).resolves.toHaveLength(5)
  })
})

describe('the end of a JPEG', () => {
  const jpegs: Record<string, { bytes: Buffer; end: number }> = {}
  const whole = (bytes: Buffer) => ({ bytes, end: bytes.length })
  const names = [
    'baseline',
    'progressive',
    'mozjpeg',
    'grey',
    'CMYK',
    'of one pixel',
    'with a thumbnail in its EXIF data',
    'with an ICC profile',
    'with a comment full of markers',
    'with restart markers',
    'with fill bytes',
    'with an empty segment',
    'with data after its end',
    'with another JPEG after its end',
  ]

  beforeAll(async () => {
    const plain = await picture(64, 48).jpeg().toBuffer()
    const thumbnail = await picture(16, 12).jpeg().toBuffer()
    const scan = plain.indexOf(Buffer.from([0xff, 0xda])) + 2 + plain.readUInt16BE(plain.indexOf(Buffer.from([0xff, 0xda])) + 2)
    const entropy = plain.subarray(scan, -2)
    // between two bytes of picture data, and not between FF and the 00 that belongs to it
    const places = Array.from({ length: 8 }, (_, at) => Math.floor((entropy.length * at) / 8)).map((at) => (entropy[at - 1] === 0xff ? at + 1 : at))
    const restarts = places.map((from, at) =>
      Buffer.concat([entropy.subarray(from, places[at + 1] ?? entropy.length), Buffer.from([0xff, 0xd0 + at])]),
    )
    Object.assign(jpegs, {
      baseline: whole(plain),
      progressive: whole(await picture(64, 48).jpeg({ progressive: true }).toBuffer()),
      mozjpeg: whole(await picture(64, 48).jpeg({ mozjpeg: true }).toBuffer()),
      grey: whole(await picture(64, 48).greyscale().jpeg().toBuffer()),
      CMYK: whole(await picture(64, 48).toColourspace('cmyk').jpeg().toBuffer()),
      'of one pixel': whole(await picture(1, 1).jpeg().toBuffer()),
      'with a thumbnail in its EXIF data': whole(withSegment(plain, 0xe1, Buffer.concat([Buffer.from('Exif\0\0'), thumbnail]))),
      'with an ICC profile': whole(await picture(64, 48).withIccProfile('p3').jpeg().toBuffer()),
      'with a comment full of markers': whole(withSegment(plain, 0xfe, Buffer.from('ffd9ffd8ffdaffd9ff00ff', 'hex'))),
      'with restart markers': whole(
        Buffer.concat([withSegment(plain, 0xdd, Buffer.from([0, 1])).subarray(0, scan + 6), ...restarts, Buffer.from('ffd9', 'hex')]),
      ),
      'with fill bytes': whole(
        Buffer.concat([plain.subarray(0, 2), Buffer.from('ffffff', 'hex'), plain.subarray(2, -2), Buffer.from('ffffffd9', 'hex')]),
      ),
      'with an empty segment': whole(withSegment(plain, 0xfe, Buffer.alloc(0))),
      'with data after its end': { bytes: Buffer.concat([plain, Buffer.from('ffd8ff motion photo')]), end: plain.length },
      'with another JPEG after its end': { bytes: Buffer.concat([plain, thumbnail.subarray(0, 100)]), end: plain.length },
    })
  })

  function missing(pieces: Iterable<Buffer>): boolean {
    const end = jpegEnd()
    for (const piece of pieces) end.take(piece)
    return end.missing
  }

  it.each(names)('is found in one %s, in one piece and byte by byte', (name) => {
    const { bytes } = jpegs[name] as { bytes: Buffer }
    expect(missing([bytes])).toBe(false)
    expect(missing(Array.from(bytes, (byte) => Buffer.from([byte])))).toBe(false)
    expect(missing([Buffer.alloc(0), bytes, Buffer.alloc(0)])).toBe(false)
  })

  it.each(names)('is found in one %s, however it is split', (name) => {
    const { bytes, end } = jpegs[name] as { bytes: Buffer; end: number }
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), fc.integer({ min: 2, max: end - 1 }), (cuts, last) => {
        const places = [0, ...cuts.sort((a, b) => a - b), bytes.length]
        const pieces = (until: number) => places.slice(1).map((to, at) => bytes.subarray(places[at], Math.min(to, until)))
        expect(missing(pieces(bytes.length))).toBe(false)
        expect(missing(pieces(last))).toBe(true)
      }),
    )
  })

  it.each(names)('is missed in one %s that is cut off anywhere', (name) => {
    const { bytes, end } = jpegs[name] as { bytes: Buffer; end: number }
    const watch = jpegEnd()
    const found: number[] = []
    bytes.subarray(0, end - 1).forEach((byte, at) => {
      watch.take(Buffer.from([byte]))
      if (at >= 1 && !watch.missing) found.push(at)
    })
    expect(found).toEqual([])
    // the same in one piece, at places all over the file
    const step = Math.max(1, Math.floor(end / 40))
    for (let cut = 2; cut < end; cut += step) expect(missing([bytes.subarray(0, cut)])).toBe(true)
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['a PNG', Buffer.from('89504e470d0a1a0affd8ff', 'hex')],
    ['text', Buffer.from('hello')],
    ['a single FF', Buffer.from([0xff])],
    ['a JPEG later on', Buffer.from('00ffd8ffe0', 'hex')],
    ['what is no JPEG after its first bytes', Buffer.from('ffd8ffe00004aabbxxxx'.replace(/x/g, '0'), 'hex')],
    ['a segment of impossible length', Buffer.from('ffd8ffe00001', 'hex')],
  ])('is not asked of %s', (_what, bytes) => {
    expect(missing([bytes])).toBe(false)
    expect(missing(Array.from(bytes, (byte) => Buffer.from([byte])))).toBe(false)
  })
})

describe('a source', () => {
  const text = 'the content, ünïcode'
  const bytes = Buffer.from(text)
  const inside = Buffer.concat([Buffer.alloc(8, 'x'), bytes, Buffer.alloc(8, 'x')])
  const arrayBuffer = () => new Uint8Array(bytes).buffer as ArrayBuffer
  const webStream = () => new Blob([arrayBuffer()]).stream()

  const cases: Array<[what: string, make: (path: string) => unknown, fileName?: string]> = [
    ['a Buffer', () => bytes],
    ['a Buffer inside of a larger one', () => inside.subarray(8, -8)],
    ['a Uint8Array', () => new Uint8Array(bytes)],
    ['a DataView', () => new DataView(inside.buffer, inside.byteOffset + 8, bytes.length)],
    ['a Uint16Array', () => new Uint16Array(arrayBuffer().slice(0, bytes.length - (bytes.length % 2)))],
    ['an ArrayBuffer', arrayBuffer],
    ['a SharedArrayBuffer', () => shared()],
    ['a Node stream', () => Readable.from([bytes])],
    ['a Node stream of a file', (path) => createReadStream(path)],
    ['a web stream', webStream],
    ['a Blob', () => new Blob([arrayBuffer()])],
    ['a File', () => new File([new Uint8Array(bytes)], 'given.txt'), 'given.txt'],
    ['a File without a name', () => new File([new Uint8Array(bytes)], ''), ''],
    [
      "an upload in multer's memory",
      () => ({ fieldname: 'f', originalname: 'given.txt', mimetype: 'text/html', buffer: bytes, size: 1 }),
      'given.txt',
    ],
    ['an upload in memory without a name', () => ({ buffer: new Uint8Array(bytes) })],
    ['an upload in memory with a name that is none', () => ({ buffer: bytes, originalname: { toString: 'x' } })],
    [
      'an upload of @fastify/multipart',
      () => ({ type: 'file', file: Readable.from([bytes]), filename: 'given.txt', mimetype: 'text/html' }),
      'given.txt',
    ],
    ['an upload of @fastify/multipart without a name', () => ({ file: Readable.from([bytes]) })],
    ['a path', (path) => fromPath(path), 'on disk.txt'],
    ['a path with a name', (path) => fromPath(path, { fileName: 'given.txt' }), 'given.txt'],
  ]

  function shared(): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(bytes.length)
    new Uint8Array(memory).set(bytes)
    return memory
  }

  it.each(cases)('can be %s', async (what, make, fileName) => {
    const path = join(await folder(), 'on disk.txt')
    await writeFile(path, bytes)
    const opened = await openSource(make(path))
    expect(opened.fileName).toBe(fileName)
    const expected = what === 'a Uint16Array' ? bytes.subarray(0, bytes.length - (bytes.length % 2)) : bytes
    expect(await contentOf(opened.content)).toEqual(expected)
  })

  it('from a path is opened when it is needed, and as often', async () => {
    const path = join(await folder(), 'later.txt')
    const source = fromPath(path)
    await expect(openSource(source)).rejects.toMatchObject({
      name: 'RefusedFileError',
      code: 'source_failed',
      message: expect.stringContaining(path),
    })
    for (const content of ['one', 'two']) {
      await writeFile(path, content)
      expect(String(await contentOf((await openSource(source)).content))).toBe(content)
    }
  })

  it('from a path that is a folder is refused', async () => {
    const path = join(await folder(), 'below')
    await mkdir(path)
    await expect(openSource(fromPath(path))).rejects.toMatchObject({ code: 'source_failed', message: expect.stringContaining('no regular file') })
  })

  const fromJson = JSON.parse(JSON.stringify({ buffer: Buffer.from('x'), originalname: 'x.jpg' }))
  it.each([
    ['a string', '/etc/passwd', /a string.*fromPath\(path\).*Buffer\.from\(text\)/],
    ['an empty string', '', /a string.*fromPath/],
    ["formidable's object", { filepath: '/etc/passwd', originalFilename: 'x' }, /'filepath'.*fromPath\(file\.filepath/],
    ["multer's object of a file on the disk", { path: '/etc/passwd', originalname: 'x' }, /'path'.*fromPath\(file\.path/],
    ['what JSON makes of a Buffer', JSON.parse(JSON.stringify(Buffer.from('x'))), /give a Buffer.*fromPath/],
    ['what JSON makes of an upload', fromJson, /give a Buffer.*fromPath/],
    ['an upload of text', { buffer: 'text', originalname: 'x' }, /give a Buffer/],
    ['a file that is a path', { file: '/etc/passwd', filename: 'x' }, /give a Buffer/],
    ['something like a FileSource', { open: () => Readable.from([bytes]), fileName: 'x' }, /give a Buffer/],
    ['something like a stream', { pipe: () => undefined, on: () => undefined }, /give a Buffer/],
    ['an array of numbers', [255, 216], /give a Buffer/],
    ['an empty object', {}, /give a Buffer/],
    ['null', null, /null.*give a Buffer/],
    ['undefined', undefined, /undefined.*give a Buffer/],
    ['a number', 5, /a number.*give a Buffer/],
    ['a boolean', true, /a boolean.*give a Buffer/],
    ['a function', () => bytes, /a function.*give a Buffer/],
  ])('cannot be %s, with the cure', async (_what, source, message) => {
    await expect(openSource(source)).rejects.toThrow(UsageError)
    await expect(openSource(source)).rejects.toMatchObject({ code: 'source_unknown', message: expect.stringMatching(message) })
  })

  const spent: Array<[what: string, make: () => unknown]> = [
    ['was read to its end', async () => drained(Readable.from([bytes]))],
    ['was read in part', async () => startedNode()],
    ['was destroyed', () => Readable.from([bytes]).destroy()],
    ['was read, in an upload', async () => ({ file: await drained(Readable.from([bytes])), filename: 'x' })],
    ['is locked', () => locked(webStream())],
    ['was cancelled', async () => cancelled(webStream())],
    ['was read to its end and let go, from the web', async () => startedWeb(10)],
    ['was read in part and let go, from the web', async () => startedWeb(1)],
  ]

  it.each(spent)('cannot be a stream that %s', async (_what, make) => {
    const source = await make()
    await expect(openSource(source)).rejects.toThrow(RefusedFileError)
    await expect(openSource(source)).rejects.toMatchObject({
      code: 'source_consumed',
      message: expect.stringMatching(/attach it before anything else reads it/),
    })
  })

  it('cannot be a stream that broke, and it is said why', async () => {
    const cause = new Error('connection reset')
    const source = Readable.from([bytes]).destroy(cause)
    const refused = { name: 'RefusedFileError', code: 'source_failed', cause, message: expect.stringContaining('connection reset') }
    await expect(openSource(source)).rejects.toMatchObject(refused)
  })

  it('that nobody wants any more is destroyed, but what is part of a request is read to its end', async () => {
    const own = Readable.from([bytes])
    letGo(own)
    expect(own.destroyed).toBe(true)

    for (const part of [Object.assign(new PassThrough(), { truncated: false }), new IncomingMessage(new Socket())]) {
      const ended = once(part, 'end')
      letGo(part)
      expect(part.destroyed).toBe(false)
      if (part instanceof PassThrough) part.end(bytes)
      else part.push(null)
      await ended
    }
  })

  async function drained(stream: Readable): Promise<Readable> {
    for await (const _ of stream);
    return stream
  }

  function startedNode(): Promise<Readable> {
    const stream = Readable.from([Buffer.from('one'), Buffer.from('two')])
    return new Promise((resolve) => {
      stream.once('data', () => {
        stream.pause()
        resolve(stream)
      })
    })
  }

  function locked(stream: ReadableStream): ReadableStream {
    stream.getReader()
    return stream
  }

  async function cancelled(stream: ReadableStream): Promise<ReadableStream> {
    await stream.cancel()
    return stream
  }

  async function startedWeb(reads: number): Promise<ReadableStream> {
    const pieces = ['one', 'two', 'three'].map((piece) => Buffer.from(piece))
    const stream = new ReadableStream({
      pull(controller) {
        const piece = pieces.shift()
        if (piece) controller.enqueue(piece)
        else controller.close()
      },
    })
    const reader = stream.getReader()
    for (let read = 0; read < reads; read++) await reader.read()
    reader.releaseLock()
    return stream
  }
})

/** One stored file, `a.txt`. */
function zip(): Buffer {
  const header = Buffer.alloc(30)
  header.write('PK\u0003\u0004', 'latin1')
  header.writeUInt16LE(20, 4)
  header.writeUInt32LE(crc32('hello'), 14)
  header.writeUInt32LE(5, 18)
  header.writeUInt32LE(5, 22)
  header.writeUInt16LE(5, 26)
  return Buffer.concat([header, Buffer.from('a.txthello')])
}

/** The chunk that says how many frames follow, put right behind the PNG's header. */
function animatedPng(png: Buffer): Buffer {
  const content = Buffer.concat([Buffer.from('acTL'), Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])])
  const chunk = Buffer.alloc(content.length + 8)
  chunk.writeUInt32BE(content.length - 4)
  content.copy(chunk, 4)
  chunk.writeUInt32BE(crc32(content), chunk.length - 4)
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)])
}
