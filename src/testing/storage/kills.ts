import type { Storage } from '../../storage/storage'
import { bytes, digest, info, stored, streamOf } from '../bodies'
import type { ProcessOptions } from '../case'
import { holds, same } from '../expect'
import { largeSize } from '../order'
import { killWhen, startVictim } from '../victim'
import type { StorageCase } from './case'

/** Moments between the end of a body and the return of `write` at which processes are killed; they lie closer at first. */
const moments = 6

/** What a process leaves that is killed while it writes. */
export function kills(options: ProcessOptions): StorageCase[] {
  const stops = (['half-way through', 'before the end of'] as const).map(
    (stop): StorageCase => [
      `leaves no part when a process is killed ${stop} a body`,
      async (storage) => {
        for (const key of ['killed/new', await holding(storage, 'killed/older')]) {
          await killWhen(options, { do: 'write', key, stop }, 'stopped')
          await checkWhole(storage, key, `${stop} a body`)
        }
      },
    ],
  )
  return [
    ...stops,
    [
      'leaves no part when a process is killed after the end of a body',
      async (storage) => {
        const finishing = await measure(options)
        for (let moment = 0; moment < moments; moment++) {
          const key = moment % 2 ? `killed/new-${moment}` : await holding(storage, `killed/older-${moment}`)
          const later = finishing * (moment / (moments - 1)) ** 2
          await killWhen(options, { do: 'write', key }, 'ended', later)
          await checkWhole(storage, key, `${Math.round(later)} ms after the end of a body`)
        }
      },
    ],
    [
      'holds what a write returned for when the process is killed right after',
      async (storage) => {
        for (const key of ['killed/new', await holding(storage, 'killed/older')]) {
          await killWhen(options, { do: 'write', key }, 'written')
          same(await stored(storage, key), whole(), `what is under '${key}' when write() returned and its process was killed`)
        }
      },
    ],
  ]
}

const body = () => bytes(largeSize, 1)
const whole = () => digest(body())
const older = bytes(5_000, 2)

async function holding(storage: Storage, key: string): Promise<string> {
  await storage.write(key, older, info)
  return key
}

/** How long a process takes from the end of a body until `write` returns. Milliseconds. */
async function measure(options: ProcessOptions): Promise<number> {
  const victim = startVictim(options, { do: 'write', key: 'killed/measured' })
  try {
    await victim.told('ended')
    const ended = performance.now()
    await victim.told('written')
    return performance.now() - ended
  } finally {
    await victim.kill()
  }
}

/** Nothing, what was there before, or all of the new body; and the same can be written again. */
async function checkWhole(storage: Storage, key: string, when: string): Promise<void> {
  const before = key.includes('older') ? digest(older) : 'nothing'
  const now = await stored(storage, key)
  const right = now === before || now === whole()
  holds(right, `a process was killed ${when}: expected '${key}' to hold ${before} or the whole new body (${whole()}), found ${now}`)
  await storage.write(key, streamOf(body()), { ...info, size: largeSize })
  same(await stored(storage, key), whole(), `what is under '${key}' when it is written again`)
}
