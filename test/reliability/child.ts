import 'reflect-metadata'
import { Attachments } from '../../src'
import { Calls, type KillPoint } from './calls'
import { openPlace, type Place } from './place'
import { openQueue, type QueueKind } from './queue'
import { type Scenario, type Stage, scenarios } from './scenarios'
import { countedBackground, countedStorage, countStatements, type Weather } from './wrapped'

/** What a child is told. */
export interface Task {
  readonly place: Place
  readonly scenario: string
  readonly queue: QueueKind
  readonly point?: KillPoint
}

/** What it says, one after the other. */
export type Said = { said: 'prepared' } | { said: 'reached'; state: number } | { said: 'ended'; calls: readonly string[] }

async function perform({ place, scenario: name, queue: kind, point }: Task): Promise<void> {
  const scenario = scenarios[name] as Scenario
  const calls = new Calls(point)
  const weather: Weather = {}
  const { dataSource, staging, storage, close } = await openPlace(place)
  countStatements(dataSource, calls)
  const queue = openQueue(kind, place)
  const attachments = new Attachments({
    staging: countedStorage('staging', staging, calls),
    storage: countedStorage('storage', storage, calls, () => weather.storageDown ?? false),
    background: countedBackground(queue.background, calls, weather),
    retry: { attempts: 1 },
    secret: 'the same in every process of a run',
  })
  await attachments.connect(dataSource)
  await queue.work(attachments)
  const stage: Stage = {
    attachments,
    manager: dataSource.manager,
    staging,
    weather,
    idle: () => queue.idle(attachments),
    reached: (state) => say({ said: 'reached', state }),
  }
  await scenario.prepare?.(stage)
  const heard = new Promise((resolve) => process.once('message', resolve))
  await say({ said: 'prepared' })
  await heard
  calls.begin()
  await scenario.run(stage)
  await attachments.close()
  await queue.close()
  await close()
  await say({ said: 'ended', calls: calls.names })
  process.disconnect()
}

/** Resolves when it is on its way: a process that is killed afterwards has said it. */
function say(what: Said): Promise<void> {
  return new Promise((sent) => process.send?.(what, () => sent()))
}

process.once('message', (task) => {
  perform(task as Task).catch((error) => {
    console.error(error)
    process.exit(1)
  })
})
