import { rm } from 'node:fs/promises'
import { Attachments } from '../../src'
import { startFaultProxy } from '../support/fault-proxy'
import { badWeather } from './bad-weather'
import { addFindings, checkSettled, type Findings, noFindings } from './check'
import { Client, shared } from './client'
import { Crew } from './crew'
import { Ledger } from './ledger'
import { person } from './person'
import { openPlace } from './place'
import { heapAfterCollection, openDescriptors } from './process-state'
import { programOf } from './program'
import { openQueue } from './queue'
import { randomFrom } from './random'
import { recover } from './recover'
import { openSlot, type Servers } from './slot'

export interface SoakOptions {
  readonly operations: number
  readonly clients: number
  readonly kills: number
  readonly seed: number
  readonly say: (line: string) => void
}

export interface SoakFigures extends Findings {
  /** How often each was done. */
  readonly operations: ReadonlyMap<string, number>
  readonly kills: number
  readonly faults: ReadonlyMap<string, number>
  readonly requests: number
  /** Bytes, a quarter of the way and at the end. */
  readonly heap: readonly [number, number]
}

/** A place in a queue of jobs behind which clients wait: workers are to keep up with them. */
const mostWaiting = 12
/** How many requests between two kills, at most. */
const mostBetween = 40
/** How much the heap may grow and still count as flat. Bytes. */
const growth = 20 * 2 ** 20

/**
 * Many clients in this process, workers that are killed and restarted, and a bad line to S3; at the end another process
 * recovers, and everything is checked.
 */
export async function soak(servers: Servers, { operations, clients, kills, seed, say }: SoakOptions): Promise<SoakFigures> {
  const found = noFindings()
  const { violations } = found
  const [slot, program] = [await openSlot(servers), await programOf('soak-worker')]
  const place = await slot.freshPlace()
  const before = await openDescriptors()

  let requests = 0
  let waiting: Array<{ at: number; tell: () => void }> = []
  const weather = badWeather(randomFrom(seed), 60, undefined, () => {
    requests++
    for (const { at, tell } of waiting) if (at <= requests) tell()
    waiting = waiting.filter(({ at }) => at > requests)
  })
  const proxy = await startFaultProxy(place.s3.endpoint, weather.rule)
  const exposed = { ...place, s3: { ...place.s3, endpoint: proxy.url }, timeout: 1_500 }
  const open = await openPlace(exposed)
  const queue = openQueue('table', place)
  const attachments = new Attachments({ staging: open.staging, storage: open.storage, background: queue.background })
  await attachments.connect(open.dataSource)
  const crew = new Crew(program, exposed, 2)
  const ledger = new Ledger()
  const counts = new Map<string, number>()
  let done = 0
  let heapThen = 0
  let clientsDone = false

  async function client(number: number): Promise<void> {
    const one = new Client(`client-${number}`, randomFrom(seed + number), attachments, open.dataSource.manager, ledger)
    while (done < operations) {
      const at = ++done
      const what = await one.act().catch((error) => {
        violations.push(`an operation failed: ${error.stack}`)
        return 'failed'
      })
      counts.set(what, (counts.get(what) ?? 0) + 1)
      if (at === Math.ceil(operations / 4)) heapThen = heapAfterCollection()
      if (at % Math.ceil(operations / 20) === 0) say(`soak: ${at}/${operations} operations, ${crew.kills} kills, ${requests} requests`)
      await queue.below(mostWaiting)
    }
  }

  async function killer(): Promise<void> {
    const random = randomFrom(seed - 1)
    const later = () => new Promise<void>((tell) => (clientsDone ? tell() : waiting.push({ at: requests + Math.ceil(random() * mostBetween), tell })))
    while (crew.kills < kills) {
      await crew.kill(Math.floor(random() * 2), later)
      while (!clientsDone && crew.kills >= Math.ceil((done / operations) * kills)) await later()
    }
  }

  try {
    await open.dataSource.manager.save(shared.map(person))
    for (const name of shared) ledger.add(name, 'avatar', '')
    const killed = killer()
    await Promise.all(Array.from({ length: clients }, (_, number) => client(number + 1)))
    clientsDone = true
    for (const { tell } of waiting) tell()
    await killed
    say(`soak: ${operations} operations, ${crew.kills} kills: waiting for the workers`)
    await queue.idle(attachments)
    const bad = await crew.stop()
    if (bad > 0) violations.push(`${bad} workers did not end well when they were told to stop`)
  } finally {
    crew.killAll()
    weather.clear()
    await attachments.close()
    await queue.close()
    await open.close()
  }
  await proxy.settled()
  await slot.settled()
  await proxy.stop()
  const heap = [heapThen, heapAfterCollection()] as const
  if (heap[1] > heap[0] + growth) violations.push(`the heap has grown from ${heap[0]} to ${heap[1]} bytes`)

  const direct = await openPlace(place)
  say('soak: recovering and checking')
  violations.push(...(await recover(place, direct, 'table', 'and try failed ones again')))
  addFindings(found, await checkSettled(place, direct))
  violations.push(...(await ledger.differences(direct.dataSource)))
  await direct.close()

  const left = crew.left()
  if (left.length > 0) violations.push(`processes are left: ${left}`)
  const more = await descriptorsBeyond(before.length)
  if (more.length > 0) violations.push(`${more.length} descriptors are open, and were ${before.length}: ${more}`)
  await slot.close()
  await rm(place.staging, { recursive: true, force: true })
  return { ...found, operations: counts, kills: crew.kills, faults: weather.struck, requests, heap }
}

/** What is open when it should not be more than so many; sockets take a moment to close. */
async function descriptorsBeyond(most: number): Promise<string[]> {
  for (let tries = 0; tries < 200; tries++) {
    const open = await openDescriptors()
    if (open.length <= most) return []
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return openDescriptors()
}
