import 'reflect-metadata'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { allFaults } from './reliability/bad-weather'
import { faultRun, mixedRun } from './reliability/fault-run'
import { seedOf } from './reliability/random'
import { openSlot, type Slot } from './reliability/slot'

const { faithful } = inject('s3')
const seed = seedOf(process.env['SEED'])

describe(`on a bad line to S3 (SEED=${seed})`, () => {
  let slot: Slot
  beforeAll(async () => {
    slot = await openSlot({ postgres: inject('postgres'), s3: inject('s3') })
  })
  afterAll(() => slot?.close())

  // a server that checks no digests takes what was damaged
  it.each(allFaults.filter((fault) => faithful || fault !== 'damaged'))('one request in four meets with: %s', async (fault) => {
    const run = await faultRun(slot, fault, seed)
    expect(run.violations).toEqual([])
    expect(run.struck.get(fault)).toBeGreaterThan(3)
  })

  it.skipIf(!faithful)('clients get along with a mixture of everything', async () => {
    const run = await mixedRun(slot, 30, seed)
    expect(run.violations).toEqual([])
    expect(run.struck.size).toBeGreaterThan(3)
  })
})
