import 'reflect-metadata'
import { createHash, randomUUID } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import sharp from 'sharp'
import { Attachments, diskStorage, inProcessBackground } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { optionOf } from '../reliability/command'
import { barChart } from './chart'
import { atDistance } from './distance'
import { fiveStyles, Person, PlainPerson } from './entities'
import { type Part, quick, runPart } from './part'
import { originals } from './pictures'
import { inPlace, type Place } from './place'
import { rounds, type Spread, spread, type Timed } from './rounds'

// npm run bench:save [-- --rounds 30 --quick]: how long a visitor waits, from the last byte of the upload to the end of save()

/** Milliseconds to S3, as between two regions that are neighbours. */
const distance = 30

async function measureAll(): Promise<Part> {
  return inPlace(async (place) => {
    const [picture] = await originals(place.folder, quick ? 0.1 : 1)
    const bytes = await readFile(picture?.path as string)
    const count = Number(optionOf('rounds') ?? (quick ? 1 : 30))
    const far = await atDistance(place.s3.endpoint, distance)
    try {
      const timed = await waits(place, far.endpoint, bytes, count)
      const shown = await untilShown(place, far.endpoint, bytes, quick ? 1 : 10)
      return report(timed, shown, bytes.length)
    } finally {
      await far.stop()
    }
  })
}

const names = { floor: 'the floor', ours: 'attach() and save()', request: 'all in the request' } as const

async function waits(place: Place, endpoint: string, bytes: Buffer, count: number): Promise<Record<string, Timed>> {
  const dataSource = await place.database(Person, PlainPerson)
  const { client, bucket } = await place.bucket(endpoint)
  // what follows the save is not what is waited for
  const background = { enqueue: async () => undefined }
  const staging = diskStorage({ root: join(place.folder, 'staging') })
  const attachments = new Attachments({ staging, storage: s3Storage({ client, bucket }), background })
  await attachments.connect(dataSource)

  /** The same bytes written, synced and hashed, the same columns saved. */
  async function floor(): Promise<void> {
    const path = join(place.folder, randomUUID())
    const write = async () => {
      const file = await open(path, 'wx')
      await file.writeFile(bytes)
      await file.sync()
      await file.close()
    }
    const written = write()
    const fingerprint = createHash('sha256').update(bytes).digest('hex')
    await written
    await dataSource.manager.save(plainPerson(path, bytes.length, fingerprint))
  }
  async function ours(): Promise<void> {
    const person = Object.assign(new Person(), { name: 'ada' })
    await attachments.attach(person, 'avatar', bytes, { fileName: 'me.jpg' })
    await dataSource.manager.save(person)
  }
  async function request(): Promise<void> {
    const key = randomUUID()
    const put = (name: string, Body: Buffer) =>
      client.send(new PutObjectCommand({ Bucket: bucket, Key: `${key}/${name}`, Body, ContentType: 'image/jpeg' }))
    await put('original', bytes)
    for (const [name, geometry] of Object.entries(fiveStyles)) {
      const side = Number.parseInt(geometry, 10)
      const fit = geometry.endsWith('#') ? 'cover' : 'inside'
      await put(name, await sharp(bytes).autoOrient().resize(side, side, { fit }).toBuffer())
    }
    await dataSource.manager.save(plainPerson(key, bytes.length, createHash('sha256').update(bytes).digest('hex')))
  }

  try {
    return await rounds({ [names.floor]: floor, [names.ours]: ours, [names.request]: request }, count)
  } finally {
    await attachments.close()
  }
}

function plainPerson(key: string, fileSize: number, fingerprint: string): PlainPerson {
  const styles = Object.fromEntries(
    ['original', ...Object.keys(fiveStyles)].map((name) => [name, { key: `${key}/${name}`, contentType: 'image/jpeg', written: false }]),
  )
  const file = { fileName: 'me.jpg', contentType: 'image/jpeg', fileSize, fingerprint, version: randomUUID().slice(0, 32), updatedAt: new Date() }
  return Object.assign(new PlainPerson(), { name: 'ada', avatar: { ...file, processing: true, attemptedAt: new Date(), meta: { styles } } })
}

/** From the last byte until the thumbnail's URL answers, with a worker in the same process. */
async function untilShown(place: Place, endpoint: string, bytes: Buffer, count: number): Promise<Spread> {
  const dataSource = await place.database(Person)
  const { client, bucket } = await place.bucket(endpoint)
  const staging = diskStorage({ root: join(place.folder, 'staging') })
  const attachments = new Attachments({ staging, storage: s3Storage({ client, bucket }), background: inProcessBackground() })
  await attachments.connect(dataSource)
  const taken: number[] = []
  try {
    for (let round = -1; round < count; round++) {
      const began = performance.now()
      const person = Object.assign(new Person(), { name: 'ada' })
      await attachments.attach(person, 'avatar', bytes, { fileName: 'me.jpg' })
      await dataSource.manager.save(person)
      for (let now = person; now.avatar.processing; await sleep(2)) now = await dataSource.manager.findOneByOrFail(Person, { id: person.id })
      const { avatar } = await dataSource.manager.findOneByOrFail(Person, { id: person.id })
      const answer = await fetch((await avatar.signedUrl('thumb')) as string)
      if (!answer.ok) throw new Error(`the thumbnail answers ${answer.status}`)
      if (round >= 0) taken.push(performance.now() - began)
    }
    return spread(taken)
  } finally {
    await attachments.close()
  }
}

function report(timed: Record<string, Timed>, shown: Spread, bytes: number): Part {
  const wall = (name: string) => timed[name]?.wall as Spread
  const row = (name: string, { median, min, max }: Spread) => [
    name,
    `${median} ms`,
    `${min} to ${max} ms`,
    `× ${(median / wall(names.floor).median).toFixed(2)}`,
  ]
  const rows = [...Object.values(names).map((name) => row(name, wall(name))), row('until the thumbnail answers', shown)]
  return {
    name: 'save',
    tables: [
      {
        caption: `A picture of ${(bytes / 1e6).toFixed(1)} MB; ${distance} ms to S3`,
        rows: [['from the last byte on', 'median', 'spread', 'to the floor'], ...rows],
      },
    ],
    goals: [
      { what: 'attach() and save() against the floor', goal: 1.3, reached: timed[names.ours]?.ratio.median ?? Number.NaN, atMost: true },
      {
        what: 'the request that does everything against ours',
        goal: 30,
        reached: wall(names.request).median / wall(names.ours).median,
        atMost: false,
      },
    ],
    figures: { bytes, distance, timed, untilTheThumbnailAnswers: shown },
    charts: {
      '': barChart({
        title: 'How long the visitor waits: milliseconds from the last byte of the upload',
        unit: 'ms',
        cases: rows.map(([name]) => name as string),
        contenders: [{ name: 'median', values: [...Object.values(names).map((name) => wall(name).median), shown.median] }],
      }),
    },
  }
}

runPart(measureAll)
