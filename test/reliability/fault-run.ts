import { rm } from 'node:fs/promises'
import { Attachments, inProcessBackground } from '../../src'
import { type Fault, startFaultProxy } from '../support/fault-proxy'
import { badWeather } from './bad-weather'
import { freshBytes, sha256 } from './bytes'
import { addFindings, checkSettled, type Findings, noFindings } from './check'
import { Client, shared } from './client'
import { Ledger } from './ledger'
import { Person, type Property, person } from './person'
import { type OpenPlace, openPlace } from './place'
import { type Random, randomFrom } from './random'
import { recover } from './recover'
import type { Slot } from './slot'

export interface FaultRun extends Findings {
  readonly struck: ReadonlyMap<Fault, number>
  readonly requests: number
}

/** Between the attempts of a job. Milliseconds. */
const backoff = 10
/** What a request may take: a hang is to be short. Milliseconds. */
const timeout = 400

/** Saves, replaces, detaches and removes while one request in four meets with one fault. */
export function faultRun(slot: Slot, fault: Fault, seed: number): Promise<FaultRun> {
  const random = randomFrom(seed)
  return under(slot, badWeather(random, 4, [fault]), async ({ attachments, open, ledger }) => {
    const { manager } = open.dataSource
    const give = async (owner: Person, property: Property) => {
      const bytes = await freshBytes(random, property === 'paper' ? 'text' : 'picture')
      await attachments.attach(owner, property, bytes)
      ledger.set(owner.name, property, sha256(bytes))
    }
    const owners = ['ada', 'bob', 'cyd', 'dan'].map(person)
    const [ada, bob, cyd] = owners as [Person, Person, Person]
    for (const owner of owners) await give(owner, 'avatar')
    await give(ada, 'cover')
    await give(bob, 'paper')
    await give(cyd, 'badge')
    await manager.save(owners)
    await attachments.idle()
    await give(ada, 'avatar')
    await give(bob, 'paper')
    await manager.save([ada, bob])
    await attachments.detach(cyd, 'avatar')
    ledger.set('cyd', 'avatar', '')
    await manager.save(cyd)
    await manager.remove(owners.splice(3))
    ledger.remove('dan')
    await attachments.idle()
    await attachments.reprocess(await manager.findOneByOrFail(Person, { name: 'ada' }), 'avatar')
    await attachments.idle()
    return undefined
  })
}

/** Some clients and a random mixture of all faults. */
export function mixedRun(slot: Slot, operations: number, seed: number): Promise<FaultRun> {
  return under(slot, badWeather(randomFrom(seed), 6), async ({ attachments, open, ledger }) => {
    const { manager } = open.dataSource
    await manager.save(shared.map(person))
    for (const name of shared) ledger.add(name, 'avatar', '')
    let left = operations
    const client = async (number: number) => {
      const random: Random = randomFrom(seed + number)
      const one = new Client(`client-${number}`, random, attachments, manager, ledger)
      while (left-- > 0) await one.act()
    }
    await Promise.all([1, 2, 3, 4].map(client))
    return 'to be swept'
  })
}

interface Scene {
  readonly attachments: Attachments
  readonly open: OpenPlace
  readonly ledger: Ledger
}

/**
 * Lets something happen behind a proxy, waits until all jobs are done, and checks everything round the proxy. Nobody recovers
 * anything before, unless there is something that nobody saved.
 */
async function under(
  slot: Slot,
  weather: ReturnType<typeof badWeather>,
  work: (scene: Scene) => Promise<'to be swept' | undefined>,
): Promise<FaultRun> {
  const place = await slot.freshPlace()
  const proxy = await startFaultProxy(place.s3.endpoint, weather.rule)
  const open = await openPlace({ ...place, s3: { ...place.s3, endpoint: proxy.url }, timeout })
  const direct = await openPlace(place)
  const { staging, storage } = open
  const background = inProcessBackground({ concurrency: 4 })
  const attachments = new Attachments({ staging, storage, background, retry: { attempts: 20, backoff: () => backoff } })
  const found = noFindings()
  const ledger = new Ledger()
  try {
    await attachments.connect(open.dataSource)
    const left = await work({ attachments, open, ledger })
    await attachments.idle()
    // what was to be done at once had one attempt alone, and is tried again by hand
    for (let tries = 0; tries < 20 && (await attachments.retryAll(Person, 'badge')) > 0; tries++) await attachments.idle()
    if (left) found.violations.push(...(await recover(place, direct, 'process', 'and try failed ones again')))
    addFindings(found, await checkSettled(place, direct))
    found.violations.push(...(await ledger.differences(direct.dataSource)))
  } finally {
    await attachments.close()
    await open.close()
    await direct.close()
    await proxy.stop()
    await rm(place.staging, { recursive: true, force: true })
  }
  return { ...found, struck: weather.struck, requests: proxy.operations.length }
}
