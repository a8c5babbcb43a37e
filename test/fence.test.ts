import { describe, expect, it } from 'vitest'
import type { AttachmentRecord } from '../src/attachment/record'
import type { Rows } from '../src/attachment/rows'
import { fencedRow, later, Overtaken } from '../src/lifecycle/fence'

const ref = { entity: 'User', id: { id: 1 }, attachment: 'avatar' }
const version = '1'.repeat(32)

const record: AttachmentRecord = {
  fileName: 'me.txt',
  contentType: 'text/plain',
  fileSize: 4,
  updatedAt: new Date(0),
  fingerprint: '',
  version,
  processing: true,
  attemptedAt: new Date(1_000),
  error: null,
  meta: { storage: 'default', id: '1', styles: {} },
}

interface Table {
  row: AttachmentRecord | null | undefined
  time: number
  reads: number
  /** What each update wrote as the moment of its change. */
  readonly moments: number[]
  /** Somebody else's change right before each update. */
  before(): unknown
  readonly rows: Rows
  now(): Date
}

/** One row as the port has it, a clock that stands unless it is set. */
function table() {
  const here: Table = {
    row: record,
    time: 5_000,
    reads: 0,
    moments: [],
    before: () => undefined,
    rows: {
      read: async () => {
        here.reads++
        return here.row
      },
      update: async (_ref, fence, changes) => {
        here.before()
        const { row } = here
        const same = row?.version === fence.version && row.processing === fence.processing
        if (!row || !same || (fence.attemptedAt !== undefined && row.attemptedAt?.getTime() !== fence.attemptedAt?.getTime())) return false
        here.row = { ...row, ...changes }
        here.moments.push(here.row.attemptedAt?.getTime() ?? Number.NaN)
        return true
      },
    } satisfies Partial<Rows> as never,
    now: () => new Date(here.time),
  }
  return here
}

const known = ({ row }: Table) => (row as AttachmentRecord).meta as unknown as Record<string, unknown>
const saying = (what: object) => (now: AttachmentRecord) => ({ meta: { ...now.meta, ...what } })

describe('two jobs on one row', () => {
  it('do not undo what the other wrote, in turn or at the same time', async () => {
    const here = table()
    const [one, two] = [fencedRow(ref, version, here), fencedRow(ref, version, here)]
    await one.change(saying({ a: 1 }))
    await two.change(saying({ b: 1 }))
    await one.change(saying({ c: 1 }))
    await Promise.all([one.change(saying({ d: 1 })), two.change(saying({ e: 1 })), two.change(saying({ f: 1 })), one.change(saying({ g: 1 }))])
    expect(known(here)).toMatchObject({ a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1 })
  })

  it('decide by what the row holds when it takes the change', async () => {
    const here = table()
    const [one, two] = [fencedRow(ref, version, here), fencedRow(ref, version, here)]
    const count = ({ meta }: AttachmentRecord) => ({ meta: { ...meta, begun: (meta.begun ?? 0) + 1 } })
    await Promise.all(Array.from({ length: 10 }, (_, at) => (at % 2 ? one : two).change(count)))
    expect(known(here)).toMatchObject({ begun: 10 })
  })

  it('cannot both end it', async () => {
    const here = table()
    const [one, two] = [fencedRow(ref, version, here), fencedRow(ref, version, here)]
    await Promise.all([one.change(() => ({})), two.change(() => ({}))])
    const ends = [one, two].map((row) => row.change(() => ({ processing: false, attemptedAt: null })))
    const outcomes = await Promise.allSettled(ends)
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: expect.any(Overtaken) })
  })
})

describe('a change', () => {
  it('returns what the row holds then, and reads the row only when it does not know it', async () => {
    const here = table()
    const row = fencedRow(ref, version, here)
    const first = await row.change(saying({ a: 1 }))
    const second = await row.change(saying({ b: 1 }))
    expect(first.meta).toMatchObject({ a: 1 })
    expect(second).toEqual(here.row)
    expect(here.reads).toBe(1)
  })

  it('writes nothing but what jobs may change', async () => {
    const here = table()
    await fencedRow(ref, version, here).change(() => ({ version: '2'.repeat(32), fileName: 'other', processing: true }))
    expect(here.row).toMatchObject({ version, fileName: 'me.txt' })
  })

  it.each([
    ['is at another version', { ...record, version: '2'.repeat(32) }],
    ['is not processing', { ...record, processing: false }],
    ['has no file', null],
    ['is not there', undefined],
  ])('of a row that %s is refused as overtaken', async (_what, row) => {
    const here = table()
    here.row = row
    await expect(fencedRow(ref, version, here).change(() => ({}))).rejects.toBeInstanceOf(Overtaken)
    expect(here.row).toEqual(row)
  })

  it('is refused as overtaken when that happened since the last one', async () => {
    const here = table()
    const row = fencedRow(ref, version, here)
    await row.change(() => ({}))
    const replaced = { ...record, version: '2'.repeat(32) }
    here.row = replaced
    await expect(row.change(() => ({ processing: false }))).rejects.toBeInstanceOf(Overtaken)
    expect(here.row).toEqual(replaced)
  })

  it('goes through when others were faster 19 times, and is given up after 20', async () => {
    for (const [times, outcome] of [
      [19, 'changed'],
      [20, 'row_busy'],
    ] as const) {
      const here = table()
      let left = times
      here.before = () => {
        if (left-- > 0) here.row = { ...(here.row as AttachmentRecord), attemptedAt: new Date(100_000 + left) }
      }
      const change = fencedRow(ref, version, here).change(() => ({}))
      expect(
        await change.then(
          () => 'changed',
          (error) => error.code,
        ),
      ).toBe(outcome)
      expect(here.reads).toBe(20)
    }
  })
})

describe('the moment of a change', () => {
  it('is the time', async () => {
    const here = table()
    await fencedRow(ref, version, here).change(() => ({}))
    expect(here.moments).toEqual([5_000])
  })

  it('is always another and later one, although the clock stands or goes back', async () => {
    const here = table()
    const [one, two] = [fencedRow(ref, version, here), fencedRow(ref, version, here)]
    for (const time of [5_000, 5_000, 4_000, 0, -1_000, 5_000]) {
      here.time = time
      await Promise.all([one.change(() => ({})), two.change(() => ({}))])
    }
    expect(here.moments).toHaveLength(12)
    expect(here.moments).toEqual([...new Set(here.moments)].sort((a, b) => a - b))
  })

  it.each([
    [null, 7, 7],
    [6, 7, 7],
    [7, 7, 8],
    [9, 7, 10],
  ])('after %s, at %s, is %s', (before, now, expected) => {
    const attemptedAt = before === null ? null : new Date(before)
    expect(later({ ...record, attemptedAt }, new Date(now)).getTime()).toBe(expected)
  })
})
