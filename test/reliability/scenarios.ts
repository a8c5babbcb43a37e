import { randomBytes } from 'node:crypto'
import type { EntityManager } from 'typeorm'
import { type Attachments, fromDirectUpload, type Storage, type UploadForm } from '../../src'
import { bytesOf } from './bytes'
import { Person, type Property, person } from './person'
import { durableQueues, type QueueKind } from './queue'
import type { Weather } from './wrapped'

/**
 * What every row holds, by the person's name: labels of files, with `!` at the end of one whose job gave up. Nobody else
 * has a row, and what is not named is empty.
 */
export type State = Readonly<Record<string, Partial<Readonly<Record<Property, string>>>>>

export interface Stage {
  readonly attachments: Attachments
  readonly manager: EntityManager
  readonly staging: Storage
  readonly weather: Weather
  /** Resolves when no job is left. */
  idle(): Promise<void>
  /** An answer has come that promises the state of this number. */
  reached(state: number): Promise<void>
}

export interface Scenario {
  /** What can be found at the end, in the order of time. */
  readonly states: readonly State[]
  /** Comes first, and is not interrupted. */
  prepare?(stage: Stage): Promise<void>
  run(stage: Stage): Promise<void>
}

async function give({ attachments }: Pick<Stage, 'attachments'>, owner: Person, files: State[string]): Promise<Person> {
  for (const [property, label] of Object.entries(files)) await attachments.attach(owner, property as Property, await bytesOf(label))
  return owner
}

async function save(stage: Stage, name: string, files: State[string]): Promise<Person> {
  return stage.manager.save(await give(stage, person(name), files))
}

const find = ({ manager }: Pick<Stage, 'manager'>, name: string) => manager.findOneByOrFail(Person, { name })

async function saveAll(stage: Stage, state: State): Promise<void> {
  for (const [name, files] of Object.entries(state)) await save(stage, name, files)
  await stage.idle()
}

/** Saves one file, from nothing to the end. */
function saving(files: State[string]): Scenario {
  return {
    states: [{}, { ada: files }],
    async run(stage) {
      await save(stage, 'ada', files)
      await stage.reached(1)
      await stage.idle()
    },
  }
}

/** Replaces a file that is finished by another. */
function replacing(before: State[string], after: State[string]): Scenario {
  return {
    states: [{ ada: before }, { ada: { ...before, ...after } }],
    prepare: (stage) => saveAll(stage, { ada: before }),
    async run(stage) {
      const ada = await find(stage, 'ada')
      await stage.manager.save(await give(stage, ada, after))
      await stage.reached(1)
      await stage.idle()
    },
  }
}

/** Prepares a state, does something that leads to another, and waits. */
function changing(before: State, after: State, change: (stage: Stage) => Promise<unknown>): Scenario {
  return {
    states: [before, after],
    prepare: (stage) => saveAll(stage, before),
    async run(stage) {
      await change(stage)
      await stage.reached(1)
      await stage.idle()
    },
  }
}

/** What a browser does: asks, and sends. The token. */
async function upload({ attachments }: Stage, label: string): Promise<string> {
  const body = await bytesOf(label)
  const handler = attachments.directUploads({ authorize: () => true })
  const ask = (path: string, init: RequestInit) => handler(new Request(new URL(path, 'http://app.test'), init))
  const asked = { entity: 'Person', property: 'avatar', fileName: `${label}.jpg`, contentType: 'image/jpeg', size: body.length }
  const answer = await ask('/uploads', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(asked) })
  const { url, method, headers, token } = (await answer.json()) as UploadForm & { token: string }
  await ask(url, { method, headers: { ...headers }, body })
  return token
}

const three: State = { ada: { avatar: 'red' }, bob: { avatar: 'blue', badge: 'green' }, cyd: { cover: 'pink', paper: 'grey' } }

export const scenarios: Readonly<Record<string, Scenario>> = {
  attach: saving({ avatar: 'red' }),
  'attach-big': saving({ paper: 'big' }),
  'attach-now': saving({ badge: 'red' }),
  'attach-only': saving({ cover: 'red' }),
  'attach-two': saving({ avatar: 'red', cover: 'blue' }),
  'attach-uploaded': {
    states: [{}, { ada: { avatar: 'red' } }],
    async run(stage) {
      const ada = person('ada')
      await stage.attachments.attach(ada, 'avatar', fromDirectUpload(await upload(stage, 'red')))
      await stage.manager.save(ada)
      await stage.reached(1)
      await stage.idle()
    },
  },

  replace: replacing({ avatar: 'red' }, { avatar: 'blue' }),
  'replace-big': replacing({ paper: 'big' }, { paper: 'bigger' }),
  'replace-now': replacing({ badge: 'red' }, { badge: 'blue' }),
  'replace-only': replacing({ cover: 'red' }, { cover: 'blue' }),
  'replace-processing': {
    states: [{}, { ada: { avatar: 'red' } }, { ada: { avatar: 'blue' } }],
    async run(stage) {
      const ada = await save(stage, 'ada', { avatar: 'red' })
      await stage.reached(1)
      await stage.manager.save(await give(stage, ada, { avatar: 'blue' }))
      await stage.reached(2)
      await stage.idle()
    },
  },

  detach: changing({ ada: { avatar: 'red', paper: 'grey' } }, { ada: { paper: 'grey' } }, async (stage) => {
    const ada = await find(stage, 'ada')
    await stage.attachments.detach(ada, 'avatar')
    await stage.manager.save(ada)
  }),
  'detach-now': changing({ ada: { badge: 'red' } }, { ada: {} }, async ({ manager }) => {
    await manager.save(Object.assign(await find({ manager }, 'ada'), { badge: null }))
  }),
  remove: changing({ ada: { avatar: 'red' } }, {}, async (stage) => stage.manager.remove(await find(stage, 'ada'))),
  'remove-many': changing(three, {}, async ({ manager }) => manager.remove(await manager.find(Person))),
  'remove-processing': {
    states: [{}, { ada: { avatar: 'red' } }, {}],
    async run(stage) {
      const ada = await save(stage, 'ada', { avatar: 'red' })
      await stage.reached(1)
      await stage.manager.remove(ada)
      await stage.reached(2)
      await stage.idle()
    },
  },

  'save-many': changing({ ada: { avatar: 'red' } }, { ...three, ada: { avatar: 'pink' } }, async ({ attachments, manager }) => {
    const ada = await give({ attachments }, await find({ manager }, 'ada'), { avatar: 'pink' })
    const bob = await give({ attachments }, person('bob'), { ...three['bob'] })
    const cyd = await give({ attachments }, person('cyd'), { ...three['cyd'] })
    await manager.save([ada, bob, cyd])
  }),

  'roll-back': {
    states: [
      { ada: { avatar: 'red' }, bob: { avatar: 'blue' } },
      { ada: { avatar: 'pink' }, bob: { avatar: 'blue' }, cyd: { avatar: 'green' } },
    ],
    prepare: (stage) => saveAll(stage, { ada: { avatar: 'red' }, bob: { avatar: 'blue' } }),
    async run(stage) {
      const ada = await give(stage, await find(stage, 'ada'), { avatar: 'pink' })
      const cyd = await give(stage, person('cyd'), { avatar: 'green' })
      const bob = await find(stage, 'bob')
      const rolledBack = stage.manager.transaction(async (manager) => {
        await manager.save([ada, cyd])
        await manager.remove(bob)
        throw new Error('changed my mind')
      })
      await rolledBack.catch(() => undefined)
      await stage.idle()
      await stage.reached(0)
      await stage.manager.save([ada, cyd])
      await stage.reached(1)
      await stage.idle()
    },
  },

  reprocess: changing({ ada: { avatar: 'red' } }, { ada: { avatar: 'red' } }, async (stage) => {
    await stage.attachments.reprocess(await find(stage, 'ada'), 'avatar')
  }),
  retry: {
    states: [{ ada: { avatar: 'red!' } }, { ada: { avatar: 'red' } }],
    async prepare(stage) {
      stage.weather.storageDown = true
      await save(stage, 'ada', { avatar: 'red' })
      await stage.idle()
      stage.weather.storageDown = false
    },
    async run(stage) {
      await stage.attachments.retry(await find(stage, 'ada'), 'avatar')
      await stage.reached(1)
      await stage.idle()
    },
  },

  work: {
    states: [{ ada: { avatar: 'red' }, bob: { cover: 'blue', paper: 'grey' }, cyd: {} }],
    async prepare(stage) {
      await saveAll(stage, { cyd: { avatar: 'green' }, dan: { avatar: 'pink' } })
      stage.weather.losesJobs = true
      await saveAll(stage, { ada: { avatar: 'red' }, bob: { cover: 'blue', paper: 'grey' }, eve: { avatar: 'gold' } })
      const cyd = await find(stage, 'cyd')
      await stage.attachments.detach(cyd, 'avatar')
      await stage.manager.save(cyd)
      await stage.manager.remove([await find(stage, 'dan'), await find(stage, 'eve')])
      stage.weather.losesJobs = false
      const version = randomBytes(16).toString('hex')
      const info = { contentType: 'application/octet-stream' }
      await stage.staging.write(`Person/avatar/${version.slice(0, 2)}/${version}/original`, await bytesOf('unsaved'), info)
    },
    async run({ attachments, idle }) {
      const worker = await attachments.work()
      await attachments.requeueLost({ olderThan: 0 })
      await idle()
      await attachments.sweepStaging({ olderThan: 0 })
      await worker.stop()
    },
  },
}

/** Those that are run once more with a queue that outlives its workers. */
const queued = ['attach', 'replace', 'replace-processing', 'remove', 'remove-processing']

/** `graphile/attach` is `attach` with jobs in Graphile Worker. */
export const scenarioNames: readonly string[] = [
  ...Object.keys(scenarios),
  ...durableQueues.flatMap((kind) => queued.map((name) => `${kind}/${name}`)),
]

export function scenarioOf(name: string): { scenario: Scenario; queue: QueueKind } {
  const [last, kind] = name.split('/').reverse()
  return { scenario: scenarios[last ?? ''] as Scenario, queue: durableQueues.find((durable) => durable === kind) ?? 'process' }
}
