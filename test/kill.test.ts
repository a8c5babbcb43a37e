import 'reflect-metadata'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { type Ground, killRun, type Point } from './reliability/kill'
import { idOf } from './reliability/points'
import { programOf } from './reliability/program'
import { openSlot } from './reliability/slot'

// a sample: npm run kill-matrix takes every point of every scenario

const points: Array<[scenario: string, point: Point]> = [
  ['attach', { when: 'during', name: 'staging write', nth: 1 }],
  ['attach', { when: 'after', name: 'sql COMMIT', nth: 1 }],
  ['attach', { when: 'after', name: 'storage write', nth: 2 }],
  ['attach', { when: 'before', name: 'staging delete', nth: 1 }],
  ['attach', { when: 'after', name: 'staging delete', nth: 1 }],
  ['attach-big', { when: 'amid', name: 'upload', nth: 2 }],
  ['attach-now', { when: 'after', name: 'storage write', nth: 1 }],
  ['attach-uploaded', { when: 'after', name: 'sql COMMIT', nth: 1 }],
  ['replace', { when: 'after', name: 'storage delete', nth: 1 }],
  ['replace-processing', { when: 'after', name: 'sql COMMIT', nth: 2 }],
  ['remove', { when: 'before', name: 'sql COMMIT', nth: 1 }],
  ['remove-many', { when: 'after', name: 'sql COMMIT', nth: 1 }],
  ['reprocess', { when: 'before', name: 'storage delete', nth: 1 }],
  ['work', { when: 'before', name: 'staging delete', nth: 2 }],
  ['table/replace', { when: 'after', name: 'storage write', nth: 1 }],
  ['bullmq/attach', { when: 'after', name: 'sql COMMIT', nth: 1 }],
  ['bullmq/replace', { when: 'after', name: 'storage write', nth: 2 }],
  ['graphile/attach', { when: 'after', name: 'sql COMMIT', nth: 1 }],
  ['graphile/replace', { when: 'after', name: 'storage write', nth: 2 }],
  ['graphile/remove', { when: 'before', name: 'sql COMMIT', nth: 1 }],
]

describe('a process that is killed loses nothing, and leaves nothing behind', () => {
  let ground: Ground
  beforeAll(async () => {
    const [slot, program] = await Promise.all([
      openSlot({ postgres: inject('postgres'), s3: inject('s3'), redis: inject('redis') ?? undefined }),
      programOf('child'),
    ])
    ground = { slot, program }
  })
  afterAll(() => ground?.slot.close())

  const here = points.filter(([scenario]) => inject('redis') !== null || !scenario.startsWith('bullmq/'))
  it.each(here.map(([scenario, point]) => [idOf({ scenario, point }), scenario, point] as const))('%s', async (_, scenario, point) => {
    const run = await killRun(ground, scenario, point)
    expect(run.violations).toEqual([])
    expect(run.killed).toBe(true)
  })
})
