import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { type AttachmentRecord, templateContext } from '../src/attachment/record'
import { define } from '../src/definition/definition'
import type { AttachmentOptions } from '../src/definition/options'
import { cleanFileName } from '../src/file/file-name'
import { planRow } from '../src/lifecycle/plan'
import { diskStorage } from '../src/storage/disk'
import { encodeKey, urlBelow } from '../src/storage/storage'
import { resolveStyle, type StyleOptions } from '../src/style/style'
import { compileTemplate } from '../src/template/template'
import { builtInTokens, type TemplateContext } from '../src/template/tokens'
import { folder } from './support/world'

const version = '0123456789abcdef0123456789abcdef'
const longest = 255

interface Given {
  entity?: string
  property?: string
  id?: Record<string, unknown>
  fileName?: string
  contentType?: string
  thumb?: StyleOptions
  options?: Partial<AttachmentOptions<string>>
}

/** A file with one style, `thumb`, as its row says it after it was planned. */
function planned(path: string, given: Given = {}): AttachmentRecord {
  const { entity = 'User', property = 'avatar', id = { id: 23 }, fileName = 'me.jpg', contentType = 'image/jpeg', thumb = { format: 'webp' } } = given
  const definition = define(entity, property, { accept: 'any', styles: { thumb }, path, ...given.options })
  const style = resolveStyle('thumb', thumb)
  const file: AttachmentRecord = {
    fileName,
    contentType,
    fileSize: 1,
    updatedAt: new Date(1_700_000_000_999),
    fingerprint: 'f'.repeat(64),
    version,
    processing: true,
    attemptedAt: null,
    error: null,
    meta: {
      storage: '',
      id: '',
      styles: {
        original: { key: '', contentType, written: false },
        thumb: { key: '', contentType: style.format ? `image/${style.format.replace('jpg', 'jpeg')}` : contentType, written: false, style },
      },
    },
  }
  return planRow({ definition, storage: 'default', ref: { entity, id, attachment: definition.property } }, file, null, new Date())
}

const keyOf = (path: string, given?: Given, style = 'thumb') => planned(path, given).meta.styles[style]?.key

/** The same file, seen by a template alone. */
function rendered(template: string, given: Given = {}): string {
  const record = planned(':style/:version', given)
  return compileTemplate(template, builtInTokens).render(templateContext(given.entity ?? 'User', given.property ?? 'avatar', 'thumb', record))
}

describe('the class and the attachment, underscored and plural', () => {
  it.each([
    ['User', 'avatar', 'users', 'avatars'],
    ['Person', 'person', 'people', 'people'],
    ['Box', 'box', 'boxes', 'boxes'],
    ['UserProfile', 'coverPhoto', 'user_profiles', 'cover_photos'],
    ['CompanyPerson', 'idCard', 'company_people', 'id_cards'],
    ['HTMLPage', 'rawHTML', 'html_pages', 'raw_htmls'],
    ['Category', 'photos', 'categories', 'photos'],
    ['Address', 'cv', 'addresses', 'cvs'],
    ['Child', 'photo_of_child', 'children', 'photo_of_children'],
    ['News', 'data', 'news', 'data'],
  ])('%s.%s', (entity, property, ofClass, ofAttachment) => {
    expect(keyOf(':class/:attachment/:style/:version', { entity, property })).toBe(`${ofClass}/${ofAttachment}/thumb/${version}`)
  })
})

describe('the id', () => {
  it.each([
    [{ id: 1 }, '1', '000/000/001'],
    [{ id: 23 }, '23', '000/000/023'],
    [{ id: 1_000 }, '1000', '000/001/000'],
    [{ id: 999_999_999 }, '999999999', '999/999/999'],
    [{ id: 1_234_567_890 }, '1234567890', '001/234/567/890'],
    [{ id: '42' }, '42', '000/000/042'],
    [{ id: 42n }, '42', '000/000/042'],
    [{ id: '9223372036854775807' }, '9223372036854775807', '009/223/372/036/854/775/807'],
    [{ id: '550e8400-e29b-41d4-a716-446655440000' }, '550e8400-e29b-41d4-a716-446655440000', '550/e84/00-/550e8400-e29b-41d4-a716-446655440000'],
    [{ id: 'a' }, 'a', 'a/a'],
    [{ id: 'abcd' }, 'abcd', 'abc/d/abcd'],
    [{ id: 'abcdefghi' }, 'abcdefghi', 'abc/def/ghi/abcdefghi'],
    [{ id: '-5' }, '-5', '-5/-5'],
    [{ id: '1.5' }, '1.5', '1.5/1.5'],
    [{ user: 1, photo: 2 }, '1-2', '1-2/1-2'],
    [{ tenant: 'acme', number: 12345 }, 'acme-12345', 'acm/e-1/234/acme-12345'],
    [{ at: new Date(0) }, '1970-01-01T00:00:00.000Z', '197/0-0/1-0/1970-01-01T00:00:00.000Z'],
  ])('%o is %s, in parts %s', (id: Record<string, unknown>, whole, partition) => {
    expect(keyOf(':style/:id/:version', { id })).toBe(`thumb/${whole}/${version}`)
    expect(keyOf(':style/:id_partition/:version', { id })).toBe(`thumb/${partition}/${version}`)
    expect(planned(':style/:version', { id }).meta.id).toBe(whole)
  })

  it('is never cut in the middle of a character', () => {
    const key = keyOf(':style/:id_partition/:version', { id: { id: 'abcdefgh😀' } })
    expect(key).not.toMatch(/\p{Cs}/u)
  })
})

describe('the file name', () => {
  const gzip = 'application/gzip'
  const unknown = 'application/octet-stream'
  it.each([
    ['me.jpg', 'image/jpeg', {}, 'me.jpg', 'me', 'jpg', '.jpg', 'jpg'],
    ['me.JPEG', 'image/jpeg', {}, 'me.jpg', 'me', 'jpg', '.jpg', 'jpg'],
    ['me.png', 'image/jpeg', {}, 'me.jpg', 'me', 'jpg', '.jpg', 'jpg'],
    ['me.jpg', 'image/jpeg', { format: 'webp' }, 'me.webp', 'me', 'webp', '.webp', 'webp'],
    ['me.png', 'image/png', { format: 'jpg' }, 'me.jpg', 'me', 'jpg', '.jpg', 'jpg'],
    ['me.png', 'image/png', { format: 'jpeg' }, 'me.jpeg', 'me', 'jpeg', '.jpeg', 'jpg'],
    ['me', 'image/png', {}, 'me.png', 'me', 'png', '.png', 'png'],
    ['me', unknown, {}, 'me', 'me', '', '', ''],
    ['me.xyz', unknown, {}, 'me.xyz', 'me', 'xyz', '.xyz', ''],
    ['me.', unknown, {}, 'me', 'me', '', '', ''],
    ['backup.tar.gz', gzip, {}, 'backup.tar.gz', 'backup.tar', 'gz', '.gz', 'gz'],
    ['.profile', unknown, {}, '.profile', '.profile', '', '', ''],
    ['.htaccess', 'text/plain', {}, '.htaccess.txt', '.htaccess', 'txt', '.txt', 'txt'],
    ['song.mp3', 'audio/mpeg', {}, 'song.mp3', 'song', 'mp3', '.mp3', 'mp3'],
    ['film.mov', 'video/quicktime', {}, 'film.mov', 'film', 'mov', '.mov', 'mov'],
    ['été 文件.jpg', 'image/jpeg', {}, 'été 文件.jpg', 'été 文件', 'jpg', '.jpg', 'jpg'],
  ] as const)('%s as %s, style %j', (fileName, contentType, thumb, filename, basename, extension, dotextension, byType) => {
    const given = { fileName, contentType, thumb }
    expect(keyOf(':style/:version/:filename', given)).toBe(`thumb/${version}/${filename}`)
    expect(rendered(':basename', given)).toBe(basename)
    expect(rendered(':extension', given)).toBe(extension)
    expect(rendered(':dotextension', given)).toBe(dotextension)
    expect(rendered(':content_type_extension', given)).toBe(byType)
  })

  it('gives the original its own extension, and each style its own', () => {
    const path = ':version/:style.:extension'
    expect(keyOf(path, { fileName: 'me.png' }, 'original')).toBe(`${version}/original.jpg`)
    expect(keyOf(path, { fileName: 'me.png' })).toBe(`${version}/thumb.webp`)
  })
})

it('knows version, style, fingerprint, time and environment', () => {
  vi.stubEnv('NODE_ENV', 'staging')
  try {
    expect(rendered(':version|:style|:fingerprint|:updated_at|:timestamp|:env')).toBe(
      `${version}|thumb|${'f'.repeat(64)}|1700000000|2023-11-14T22:13:20.999Z|staging`,
    )
  } finally {
    vi.unstubAllEnvs()
  }
})

it('prints what is not known as nothing', () => {
  const names = Object.keys(builtInTokens).filter((name) => !['attachment', 'class', 'style', 'env'].includes(name))
  const context: TemplateContext = { entity: 'User', attachment: 'avatar', style: 'thumb' }
  expect(names.map((name) => compileTemplate(`:${name}`, builtInTokens).render(context))).toEqual(names.map(() => ''))
})

describe(':hash', () => {
  const hmac = (secret: string, data: string) => createHmac('sha256', secret).update(data).digest('hex')
  const secret = 's3cret'

  it.each([
    ['thumb', undefined, 'users/avatars/23/thumb/1700000000'],
    ['original', undefined, 'users/avatars/23/original/1700000000'],
    ['thumb', ':version:style', `${version}thumb`],
    ['thumb', ':style - :filename', 'thumb - me.webp'],
  ])('of %s by %s is the HMAC-SHA256 of %s', (style, hashData, data) => {
    const options = { secret, ...(hashData !== undefined && { hashData }) }
    expect(keyOf(':hash/:version', { options }, style)).toBe(`${hmac(secret, data)}/${version}`)
  })

  it('is another one under another secret', () => {
    const [one, other] = ['one', 'other'].map((secret) => keyOf(':hash/:version', { options: { secret } }))
    expect(one).not.toBe(other)
  })
})

describe('a template is read once,', () => {
  it.each([
    ['x:class.jpg', ':style/:version/:filename', `thumb/${version}/x:class.webp`],
    [':version.jpg', ':style/:version/:basename', `thumb/${version}/:version`],
    [':.jpg', ':style/:version/:filename', `thumb/${version}/:.webp`],
    ['$&$1.jpg', ':style/:version/:filename', `thumb/${version}/$&$1.webp`],
    [':style:id.jpg', ':style-:basename/:version', `thumb-:style:id/${version}`],
  ])('so that a file may be called %s', (fileName, path, key) => {
    expect(keyOf(path, { fileName })).toBe(key)
  })

  it('and an id may look like a token', () => {
    expect(keyOf(':style/:id/:version', { id: { id: ':style' } })).toBe(`thumb/:style/${version}`)
  })

  it.each([
    [':id_partition', '000/000/023'],
    [':id_:id', '23_23'],
    [':idx', '23x'],
    [':classes', 'userses'],
    [':content_type_extension', 'webp'],
    [':basename:dotextension', 'me.webp'],
    [':updated_at_:id', '1700000000_23'],
    ['::style', ':thumb'],
    ['a:1/: b/:/:', 'a:1/: b/:/:'],
    ['http://localhost:8080/:style', 'http://localhost:8080/thumb'],
    ['', ''],
  ])('the longest token first: %s is %s', (template, text) => {
    expect(rendered(template)).toBe(text)
  })

  it.each([
    [':nope', ':nope'],
    [':style/:Class', ':Class'],
    [':style/:_id', ':_id'],
    [':clas', ':clas'],
    [':hash', ':hash'],
    [':path', ':path'],
    [':style/:__proto__', ':__proto__'],
    [':style/:constructor', ':constructor'],
  ])('and %s has a token that is unknown', (template, token) => {
    expect(() => compileTemplate(template, builtInTokens)).toThrow(
      new RegExp(`has an unknown token '${token}': there are :attachment :basename :class .*:version`),
    )
  })

  it('says which tokens occur', () => {
    expect(compileTemplate(':class/:id_partition/:style/:style', builtInTokens).tokens).toEqual(['class', 'id_partition', 'style', 'style'])
  })
})

describe("a user's own tokens", () => {
  it('stand beside the others, the longest first, and may replace one', () => {
    const tokens = { tenant: () => 'acme', tenant_name: ({ id }: { id?: string }) => `acme ${id}`, id: () => 'mine' }
    expect(keyOf(':tenant/:tenant_name/:id/:style/:version', { options: { tokens } })).toBe(`acme/acme 23/mine/thumb/${version}`)
  })

  it('are not read as templates', () => {
    expect(keyOf(':own/:style/:version', { options: { tokens: { own: () => ':style' } } })).toBe(`:style/thumb/${version}`)
  })

  it.each([
    ['..', ''],
    ['a/b', 'a-b'],
    ['a\\b', 'a-b'],
    ['../../etc', '.-.-etc'],
    ['a\u0000b\n', 'ab'],
  ])('are made safe: %j', (value, part) => {
    const key = keyOf(':own/:style/:version', { options: { tokens: { own: () => value } } })
    expect(key).toBe([part, 'thumb', version].filter(Boolean).join('/'))
  })
})

describe('values are made safe for a key', () => {
  it.each([
    ['a/b.jpg', 'a-b.webp'],
    ['a\\b.jpg', 'a-b.webp'],
    ['../a/../b.jpg', '.-a-.-b.webp'],
    ['a..jpg', 'a.webp'],
    ['a....b.jpg', 'a.b.webp'],
    ['a.\u0000.b.jpg', 'a.b.webp'],
    ['a\u0000\u001f\u007f\u0085\u2028b.jpg', 'ab.webp'],
    ['a b%20?#&+=.jpg', 'a b%20?#&+=.webp'],
  ])('the file name %j', (fileName, name) => {
    expect(keyOf(':style/:version/:filename', { fileName })).toBe(`thumb/${version}/${name}`)
  })

  it.each([
    ['a/b', 'a-b'],
    ['..', ''],
    ['.', ''],
    ['../..', '.-.'],
    ['a\u0000b', 'ab'],
    ['', ''],
  ])('the id %j', (id, part) => {
    expect(keyOf(':style/:id/:version', { id: { id } })).toBe(['thumb', part, version].filter(Boolean).join('/'))
  })

  it('the environment', () => {
    vi.stubEnv('NODE_ENV', '../prod')
    try {
      expect(keyOf(':env/:style/:version')).toBe(`.-prod/thumb/${version}`)
    } finally {
      vi.unstubAllEnvs()
    }
  })
})

describe('a template without :version gets it before the extension', () => {
  it.each([
    [':class/:id/:style/:filename', {}, `users/23/thumb/me-${version}.webp`],
    [':class/:id/:style', {}, `users/23/thumb-${version}`],
    [':style/:basename', {}, `thumb/me-${version}`],
    [':style/:filename', { fileName: 'backup.tar.gz', contentType: 'application/gzip', thumb: '1x1' }, `thumb/backup.tar-${version}.gz`],
    [':style/:filename', { fileName: '.profile', contentType: 'application/octet-stream', thumb: '1x1' }, `thumb/.profile-${version}`],
    ['v1.2/:style', {}, `v1.2/thumb-${version}`],
    [':style/', {}, `thumb-${version}`],
    [':style/:fingerprint.:extension', {}, `thumb/${'f'.repeat(64)}-${version}.webp`],
  ])('%s', (path, given, key) => {
    expect(keyOf(path, given as Given)).toBe(key)
  })

  it('one with it, wherever it stands, is left as it is', () => {
    expect(keyOf(':version/:style/:filename')).toBe(`${version}/thumb/me.webp`)
    expect(keyOf(':style/:basename-:version.:extension')).toBe(`thumb/me-${version}.webp`)
  })

  it('one that only hashes it gets it too, for a hash alone does not tell one from another', () => {
    const key = keyOf(':hash.:extension', { options: { secret: 'x', hashData: ':version:style' } })
    expect(key).toMatch(new RegExp(`^[0-9a-f]{64}-${version}\\.webp$`))
  })
})

describe('every key', () => {
  it.each([
    ['/:class//:style/./:version/../:filename', `users/thumb/${version}/me.webp`],
    ['./:style/:version/', `thumb/${version}`],
    ['../../:style/:filename', `thumb/me-${version}.webp`],
    [':style/:content_type_extension/:version', `thumb/${version}`, { contentType: 'application/octet-stream', thumb: '1x1' }],
  ] as Array<[path: string, key: string, given?: Given]>)('of %s has no empty segment, . or ..', (path, key, given) => {
    expect(keyOf(path, given)).toBe(key)
  })

  it('is relative, made of real segments, holds the version and fits in a URL', () => {
    const text = fc.constantFrom('/', '//', '.', '..', '-', 'x', ' ', 'é')
    const token = fc.constantFrom(':id', ':id_partition', ':basename', ':filename', ':extension', ':dotextension', ':class', ':version')
    const piece = fc.oneof(text, token)
    const path = fc.array(piece, { maxLength: 12 }).map((pieces) => `${pieces.join('')}:style${pieces.reverse().join('')}`)
    const id = fc.oneof(fc.integer(), fc.bigInt(), fc.uuid(), fc.string(), fc.constantFrom('', '.', '..', '/', '../..', '\\'))
    const fileName = fc.string({ unit: 'binary' }).map(cleanFileName)
    const contentType = fc.constantFrom('image/jpeg', 'application/octet-stream', 'text/plain')
    fc.assert(
      fc.property(path, id, fileName, contentType, (template, id, fileName, contentType) => {
        const { styles } = planned(template, { id: { id }, fileName, contentType }).meta
        const keys = Object.values(styles).map(({ key }) => key)
        expect(new Set(keys).size).toBe(keys.length)
        for (const key of keys) {
          expect(key.split('/').filter((segment) => /^\.{0,2}$/.test(segment))).toEqual([])
          expect(key).toContain(version)
          expect(key).not.toMatch(/[\p{Cc}\\]/u)
          expect(decodeURIComponent(new URL(urlBelow('https://files.test/base/', key)).pathname)).toBe(`/base/${key}`)
        }
      }),
      { numRuns: 500 },
    )
  })

  describe('of the longest file name has segments that a disk takes', () => {
    const fileName = cleanFileName(`${'x'.repeat(300)}.jpg`)
    const paths = [':class/:id/:version/:style/:filename', ':class/:id/:style/:filename']

    it.each(paths)('%s', (path) => {
      const keys = Object.values(planned(path, { fileName }).meta.styles).map(({ key }) => key)
      for (const segment of keys.flatMap((key) => key.split('/'))) expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(longest)
    })

    it.each(paths)('and is written to one: %s', async (path) => {
      const storage = diskStorage({ root: await folder() })
      const key = keyOf(path, { fileName }, 'original') as string
      await storage.write(key, Buffer.from('x'), { contentType: 'image/jpeg' })
      expect(await storage.stat(key)).toEqual({ size: 1 })
    })
  })

  it('is planned for the original and for every style, with storage and id, and nothing else is changed', () => {
    const record = planned(':class/:id/:version/:style')
    expect(record.meta).toEqual({
      storage: 'default',
      id: '23',
      styles: {
        original: { key: `users/23/${version}/original`, contentType: 'image/jpeg', written: false },
        thumb: { key: `users/23/${version}/thumb`, contentType: 'image/webp', written: false, style: { name: 'thumb', format: 'webp' } },
      },
    })
    expect(record).toMatchObject({ fileName: 'me.jpg', version, processing: true, attemptedAt: expect.any(Date) })
  })

  it('of the file before moves along, with those that it had before', () => {
    const before = planned(':style/:version')
    const older = { version: 'older', storage: 'default', keys: ['older/original'], staged: [] }
    const place = {
      definition: define('User', 'avatar', { accept: 'any' }),
      storage: 'default',
      ref: { entity: 'User', id: { id: 23 }, attachment: 'avatar' },
    }
    const after = planRow(place, before, { ...before, meta: { ...before.meta, previous: [older] } }, new Date())
    expect(after.meta.previous).toEqual([
      older,
      { version, storage: 'default', keys: [`original/${version}`, `thumb/${version}`], staged: [], unfinished: true },
    ])
  })
})

describe('URLs', () => {
  it.each([
    ['a/b/c.jpg', 'a/b/c.jpg'],
    ['me at the sea.jpg', 'me%20at%20the%20sea.jpg'],
    ['100%.jpg', '100%25.jpg'],
    ['%2e%2e/x', '%252e%252e/x'],
    ['a?b=c#d&e+f.jpg', 'a%3Fb%3Dc%23d%26e%2Bf.jpg'],
    ['x:y;z,@$.jpg', 'x%3Ay%3Bz%2C%40%24.jpg'],
    ['été/文件/😀.jpg', '%C3%A9t%C3%A9/%E6%96%87%E4%BB%B6/%F0%9F%98%80.jpg'],
    ['שלום.jpg', '%D7%A9%D7%9C%D7%95%D7%9D.jpg'],
    ['a\\b"<>.jpg', 'a%5Cb%22%3C%3E.jpg'],
  ])('encode each segment of %s', (key, encoded) => {
    expect(encodeKey(key)).toBe(encoded)
    expect(urlBelow('https://files.test', key)).toBe(`https://files.test/${encoded}`)
  })

  it.each([
    ['https://files.test', 'https://files.test/a/b'],
    ['https://files.test/', 'https://files.test/a/b'],
    ['https://files.test/base///', 'https://files.test/base/a/b'],
    ['/uploads', '/uploads/a/b'],
    ['/', '/a/b'],
    ['', '/a/b'],
  ])('start with %j and one slash', (base, url) => {
    expect(urlBelow(base, 'a/b')).toBe(url)
  })

  it('by a template keep its query string, and encode only the values', () => {
    const url = define('User', 'avatar', { accept: 'any', url: 'https://cdn.test:8080/:path?v=:version&s=:style&n=:filename' }).url
    const context = templateContext('User', 'avatar', 'thumb', planned(':style/:version/:filename', { fileName: 'a&b #1?.jpg' }))
    expect(url?.render({ ...context, key: 'thumb/x y/a&b #1?.webp' }, encodeKey)).toBe(
      `https://cdn.test:8080/thumb/x%20y/a%26b%20%231%3F.webp?v=${version}&s=thumb&n=a%26b%20%231%3F.webp`,
    )
  })

  it(':path is known in them only', () => {
    expect(() => define('User', 'avatar', { accept: 'any', path: ':path' })).toThrow(/unknown token ':path'/)
  })
})
