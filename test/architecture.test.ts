import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { expect, it } from 'vitest'

const src = join(__dirname, '../src')

/** A folder may import itself and what stands in an earlier row; folders of one row do not know each other. */
const rows = [
  ['errors', 'room'],
  ['file', 'style', 'template', 'storage', 'background', 'notify'],
  ['processor', 'testing'],
  ['definition'],
  ['attachment'],
  ['lifecycle'],
  ['http'],
  ['typeorm'],
  ['connection'],
  ['uploads'],
  ['attachments'],
  ['index'],
  ['cli'],
  ['client'],
]

/** What tests are given knows what they test, and nobody knows it. */
const tested = ['errors', 'storage', 'background']

/** Each package has one home. */
const homes: Readonly<Record<string, string>> = {
  typeorm: 'typeorm',
  sharp: 'processor',
  'file-type': 'file',
  'mime-types': '*',
  pluralize: 'template',
  thumbhash: 'processor',
  fastq: 'background',
  bullmq: 'background',
  'graphile-worker': 'background',
  pg: 'background notify',
  'content-disposition': 'storage',
  '@aws-sdk/client-s3': 'storage',
  '@aws-sdk/client-sqs': 'background',
  '@aws-sdk/lib-storage': 'storage',
  '@aws-sdk/s3-presigned-post': 'storage',
  '@aws-sdk/s3-request-presigner': 'storage',
}

/** What composes the rest names TypeORM's types, and nothing else of it. */
const typesOnly = ['connection', 'uploads', 'attachments', 'cli']

async function imports(): Promise<Array<{ file: string; folder: string; target: string; typeOnly: boolean }>> {
  const files = (await readdir(src, { recursive: true })).filter((file) => file.endsWith('.ts'))
  const found = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(src, file), 'utf8')
      const statements = [...text.matchAll(/(import|export)( type)?[^'"]*? from '([^']+)'|import\('([^']+)'\)/g)]
      return statements.map(([, , typeOnly, from, dynamic]) => ({
        file,
        folder: placeOf(file),
        target: (from ?? dynamic) as string,
        typeOnly: Boolean(typeOnly),
      }))
    }),
  )
  return found.flat()
}

function placeOf(file: string): string {
  return (file.split('/')[0] as string).replace(/\.ts$/, '')
}

const rowOf = (place: string) => rows.findIndex((row) => row.includes(place))

it('every folder has a place in the table', async () => {
  const places = (await readdir(src)).filter((name) => name !== 'tsconfig.json').map(placeOf)
  expect(places.filter((place) => rowOf(place) < 0)).toEqual([])
})

it('imports go one way', async () => {
  const wrong = (await imports()).filter(({ file, folder, target }) => {
    if (!target.startsWith('.')) return false
    const other = placeOf(relative(src, join(src, dirname(file), target)))
    return other !== folder && rowOf(other) >= rowOf(folder)
  })
  expect(wrong).toEqual([])
})

it('testing knows what it tests, and nobody knows testing', async () => {
  const inner = (await imports()).filter(({ target }) => target.startsWith('.'))
  const between = inner.map(({ file, folder, target }) => ({ file, folder, other: placeOf(relative(src, join(src, dirname(file), target))) }))
  const wrong = between.filter(({ folder, other }) => folder !== other && (other === 'testing' || (folder === 'testing' && !tested.includes(other))))
  expect(wrong).toEqual([])
})

it('the client stands alone: nothing of the rest is sent to browsers', async () => {
  const all = await imports()
  const wrong = all.filter(({ folder, file, target }) => folder === 'client' || placeOf(relative(src, join(src, dirname(file), target))) === 'client')
  expect(wrong).toEqual([])
})

it('every package has one home', async () => {
  const wrong = (await imports()).filter(({ folder, target, typeOnly }) => {
    if (target.startsWith('.') || target.startsWith('node:')) return false
    if (typeOnly && target === 'typeorm' && typesOnly.includes(folder)) return false
    const home = homes[target]
    return home !== '*' && !home?.split(' ').includes(folder)
  })
  expect(wrong).toEqual([])
})

it('only the command, and the process that a contract kills, print and exit', async () => {
  const files = (await readdir(src, { recursive: true })).filter((file) => file.endsWith('.ts') && placeOf(file) !== 'cli')
  const texts = await Promise.all(files.map(async (file) => ({ file, text: await readFile(join(src, file), 'utf8') })))
  const printing = texts.filter(({ text }) => /console\.|process\.(exit|stdout|stderr)/.test(text))
  expect(printing.map(({ file }) => file)).toEqual(['testing/testing-child.ts'])
})
