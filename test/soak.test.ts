import 'reflect-metadata'
import { expect, inject, it } from 'vitest'
import { seedOf } from './reliability/random'
import { soak } from './reliability/soak-run'

// a sample: npm run soak does two thousand operations

const seed = seedOf(process.env['SEED'])

it.skipIf(!inject('s3').faithful)(
  `clients, killed workers and a bad line end with every row and object as it must be (SEED=${seed})`,
  async () => {
    const servers = { postgres: inject('postgres'), s3: inject('s3') }
    const run = await soak(servers, { operations: 120, clients: 8, kills: 3, seed, say: () => undefined })
    expect(run.violations).toEqual([])
    expect(run.kills).toBe(3)
  },
  120_000,
)
