import 'reflect-metadata'
import { GetObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { Attachments, memoryStorage } from '../../src'
import { s3Storage } from '../../src/storage/s3'
import { optionOf } from '../reliability/command'
import { jpeg } from '../support/pictures'
import { barChart } from './chart'
import { copyPlain, multiply } from './crowd'
import { Person, PlainPerson } from './entities'
import { type Part, quick, runPart } from './part'
import { inPlace } from './place'
import { rounds, type Timed } from './rounds'

// npm run bench:reading [-- --rounds 15 --quick]: what it costs to show a page

const rowCount = quick ? 50 : 10_000
const urlCount = quick ? 50 : 20_000
const signatures = quick ? 5 : 300

async function measureAll(): Promise<Part> {
  return inPlace(async (place) => {
    const dataSource = await place.database(Person, PlainPerson)
    const { client, bucket } = await place.bucket()
    const attachments = new Attachments({
      staging: memoryStorage(),
      storage: s3Storage({ client, bucket }),
      background: { enqueue: async () => undefined, start: () => undefined },
    })
    await attachments.connect(dataSource)
    const person = Object.assign(new Person(), { name: 'ada' })
    await attachments.attach(person, 'avatar', await jpeg(), { fileName: 'me.jpg' })
    await attachments.attach(person, 'cover', await jpeg(), { fileName: 'it.jpg' })
    await dataSource.manager.save(person)
    await multiply(dataSource, rowCount)
    await copyPlain(dataSource)

    const count = Number(optionOf('rounds') ?? (quick ? 1 : 15))
    const { avatar } = await dataSource.manager.findOneByOrFail(Person, { avatar: { processing: false } })
    if (!(await avatar.signedUrl('thumb'))?.includes('X-Amz-Signature')) throw new Error('what is measured is not the URL of a file')
    const key = avatar.path('thumb') as string
    const base = `${place.s3.endpoint}/${bucket}`
    const timed = {
      loading: await rounds(
        {
          'the same columns, plain': () => dataSource.manager.find(PlainPerson),
          'two attachments': () => dataSource.manager.find(Person),
        },
        count,
      ),
      url: await rounds(
        {
          'by hand': () => repeat(urlCount, () => `${base}/${key.split('/').map(encodeURIComponent).join('/')}`),
          'url()': () => repeat(urlCount, () => avatar.url('thumb')),
        },
        count,
      ),
      signing: await rounds(
        {
          "the SDK's presigner": async () => {
            for (let at = 0; at < signatures; at++)
              await getSignedUrl(client, new GetObjectCommand({ Bucket: bucket, Key: key }), { expiresIn: 600 + at })
          },
          'signedUrl()': async () => {
            for (let at = 0; at < signatures; at++) await avatar.signedUrl('thumb', { expiresIn: 600 + at })
          },
        },
        count,
      ),
    }
    await attachments.close()
    return report(timed)
  })
}

function repeat(times: number, work: () => unknown): void {
  for (let at = 0; at < times; at++) work()
}

function report({ loading, url, signing }: Record<'loading' | 'url' | 'signing', Record<string, Timed>>): Part {
  const [, ours] = Object.values(loading) as [Timed, Timed]
  const perSecond = ({ wall }: Timed, count: number) => Math.round((count / wall.median) * 1_000)
  const rates = (found: Record<string, Timed>, count: number) =>
    Object.entries(found).map(([name, timed]) => [name, perSecond(timed, count).toLocaleString('en'), `× ${(1 / timed.ratio.median).toFixed(2)}`])
  const [presigner, signed] = Object.values(signing) as [Timed, Timed]
  return {
    name: 'reading',
    tables: [
      {
        caption: `Loading ${rowCount.toLocaleString('en')} rows`,
        rows: [['rows with', 'ms', ''], ...Object.entries(loading).map(([name, { wall, ratio }]) => [name, wall.median, `× ${ratio.median}`])],
      },
      { caption: 'URLs', rows: [['URLs', 'a second', ''], ...rates(url, urlCount), ...rates(signing, signatures)] },
    ],
    goals: [
      { what: 'loading rows with two attachments against the same columns, plain', goal: 1.1, reached: ours.ratio.median, atMost: true },
      { what: "signedUrl() against the SDK's presigner", goal: 30, reached: presigner.wall.median / signed.wall.median, atMost: false },
    ],
    figures: { rows: rowCount, urls: urlCount, signatures, loading, url, signing },
    charts: {
      '': barChart({
        title: 'URLs a second',
        unit: 'a second',
        logarithmic: true,
        cases: [...Object.keys(url), ...Object.keys(signing)],
        contenders: [
          {
            name: 'one core',
            values: [
              ...Object.values(url).map((timed) => perSecond(timed, urlCount)),
              ...Object.values(signing).map((timed) => perSecond(timed, signatures)),
            ],
          },
        ],
      }),
    },
  }
}

runPart(measureAll)
