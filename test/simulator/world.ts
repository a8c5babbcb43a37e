import type { Job, Processor } from '../../src'
import type { AttachmentName } from '../../src/attachment/rows'
import type { Definition } from '../../src/definition/definition'
import type { Intents } from '../../src/lifecycle/intents'
import type { Ports } from '../../src/lifecycle/ports'
import { Database, type Transaction } from './database'
import { checkMoment } from './invariants'
import type * as RealLifecycle from './lifecycle'
import { Objects } from './objects'
import { type Machine, Scheduler } from './scheduler'

export type Lifecycle = typeof RealLifecycle

/** An invariant does not hold. */
export class Violation extends Error {}

export const queues = ['in process', 'durable'] as const

export interface Setting {
  /** Jobs end with their machine, or are given to another one. */
  readonly queue: (typeof queues)[number]
  readonly keeps: 'never' | 'replaced' | 'always'
  /** What a machine has asked for before it was killed arrives when all others have long ended; not with a durable queue. */
  readonly late: boolean
}

/** After so long a durable queue gives the job of a dead machine to another one. Milliseconds. */
const lease = 60_000

/** A job in a queue. */
interface Waiting {
  readonly job: Job
  readonly attempt: number
  readonly due: number
}

/** A machine with its memory. */
export interface Host {
  machine: Machine
  intents: Intents
  /** Versions that this machine has attached, and to which row they were meant. */
  attached: Array<{ readonly row: number; readonly version: string; readonly text: string }>
  /** Those whose commit it has seen. */
  readonly committed: Set<string>
  readonly running: Set<Waiting>
  readonly beats: Set<() => void>
  readonly transactions: Set<Transaction>
  closing: boolean
}

/** What everybody may rely on: by row, the text of the file that was committed last; null without one. */
export type Truth = Map<number, string | null>

/** Two machines, a database, two storages and a queue; no clock but this one. */
export class World {
  readonly scheduler: Scheduler
  readonly database: Database
  readonly staging: Objects
  readonly storage: Objects
  readonly definition: Definition
  readonly hosts: [Host, Host]
  readonly truth: Truth = new Map()
  /** Keys of files that options keep on purpose, and whether they were there when they were left. */
  readonly kept = new Map<string, boolean>()
  /** By row, the keys of what has to be shown until its file is ready. */
  readonly shown = new Map<number, readonly string[]>()
  /** Versions that were ever committed. */
  readonly saved = new Set<string>()
  readonly names: AttachmentName[] = [{ entity: 'User', attachment: 'avatar' }]
  time = Date.UTC(2026, 0, 1)
  violation: Violation | undefined

  constructor(
    readonly lifecycle: Lifecycle,
    readonly setting: Setting,
  ) {
    const violated = (what: string) => {
      this.violation ??= new Violation(what)
    }
    const missing = (key: string) => new lifecycle.StorageError('object_missing', `nothing is under ${key}`)
    this.scheduler = new Scheduler((what) => new lifecycle.StorageError('fault', what))
    this.scheduler.afterwards = () => checkMoment(this, violated)
    this.database = new Database(this.scheduler, 'User', 'avatar')
    this.staging = new Objects(this.scheduler, 'staging', () => this.now(), missing, violated)
    this.storage = new Objects(this.scheduler, 'storage', () => this.now(), missing, violated)
    this.definition = lifecycle.define('User', 'avatar', {
      styles: { a: '10x10', b: '20x20' },
      accept: 'any',
      path: ':id/:style-:filename',
      processors: [this.#processor()],
      keepOldFiles: setting.keeps === 'replaced',
      preserveFiles: setting.keeps === 'always',
      whileProcessing: 'previous',
    })
    this.hosts = [this.#host('A'), this.#host('B')]
  }

  now(): Date {
    return new Date(this.time)
  }

  portsFor({ machine, beats }: Host): Ports {
    const storage = this.storage.portFor(machine)
    return {
      rows: this.database.portFor(machine),
      staging: this.staging.portFor(machine),
      storage: () => storage,
      definition: () => this.definition,
      retry: { attempts: 3, backoff: (attempt) => 1_000 * attempt, elsewhere: 0 },
      now: () => this.now(),
      tell: () => undefined,
      every(_interval, task) {
        beats.add(task)
        return () => void beats.delete(task)
      },
    }
  }

  /** Takes a job into the queue; it starts when the scheduler says so. */
  queue(host: Host, waiting: Waiting): void {
    const { machine } = host
    const durable = this.setting.queue === 'durable'
    const everybody: Machine = { name: 'queue', alive: true }
    this.scheduler.calls.push({
      machine: durable ? everybody : machine,
      what: `start ${waiting.job.kind}`,
      ready: () => waiting.due <= this.time,
      drop: () => undefined,
      happen: () => undefined,
    })
    const call = this.scheduler.calls.at(-1) as { happen(): void; drop(): void }
    const remove = () => this.scheduler.calls.splice(this.scheduler.calls.indexOf(call as never), 1)
    call.drop = () => void remove()
    call.happen = () => {
      remove()
      if (!durable && !machine.alive) return
      const taker = durable ? this.hosts[this.scheduler.trace.length % 2 === 0 ? 0 : 1] : host
      this.scheduler.trace.push(`${taker.machine.name}: starts the ${waiting.job.kind} job, attempt ${waiting.attempt}`)
      void this.#run(taker, waiting)
    }
  }

  async #run(host: Host, waiting: Waiting): Promise<void> {
    const { lifecycle } = this
    const { machine } = host
    host.running.add(waiting)
    const job = structuredClone(waiting.job)
    const ports = this.portsFor(host)
    const work = host.closing && job.kind === 'process' ? lifecycle.handBack(job, ports) : lifecycle.perform(job, waiting.attempt, ports)
    await work.catch((error) => {
      if (!machine.alive) return
      if (error instanceof lifecycle.TryLater) this.queue(host, { ...waiting, attempt: waiting.attempt + 1, due: this.time + error.delay })
      else if (!(error instanceof lifecycle.AttachmentError)) this.violation ??= new Violation(`a job ended with ${error?.stack ?? error}`)
    })
    if (machine.alive) host.running.delete(waiting)
  }

  /** The machine loses its memory and starts anew; a durable queue gives its jobs to others. */
  kill(host: Host): void {
    host.machine.alive = false
    for (const transaction of host.transactions) if (!transaction.committing) this.database.end(transaction)
    const lost = [...host.running]
    Object.assign(host, this.#host(host.machine.name))
    if (this.setting.queue === 'durable') for (const waiting of lost) this.queue(host, { ...waiting, due: this.time + lease })
  }

  /** Time goes by: what dead machines have sent arrives before a queue gives their jobs to others. */
  pass(time: number): void {
    if (this.setting.queue === 'durable') {
      for (const call of [...this.scheduler.calls]) if (!call.machine.alive && call.ready()) call.happen()
    }
    this.time += time
  }

  #host(name: string): Host {
    return {
      machine: { name, alive: true },
      intents: this.lifecycle.intents(() => this.time),
      attached: [],
      committed: new Set(),
      running: new Set(),
      beats: new Set(),
      transactions: new Set(),
      closing: false,
    }
  }

  /** Makes styles of which everybody can tell what they have to be. A file may have a style that cannot be made. */
  #processor(): Processor {
    const { lifecycle } = this
    return {
      reads: () => true,
      async *process({ open }, styles) {
        const text = ((await open()) as unknown as { bytes: Buffer }).bytes.toString()
        for (const style of styles) {
          if (text.includes(`no ${style.name}`)) throw new lifecycle.ProcessingError('corrupt', `${style.name} cannot be made`)
          const body = Buffer.from(bodyOf(text, style.name))
          yield { style, body, contentType: 'application/octet-stream', width: 1, height: 1, thumbhash: Buffer.from('looks') }
        }
      },
    }
  }
}

/** What a style of a file has to be. */
export function bodyOf(text: string, style: string): string {
  return style === 'original' ? text : `${style} of ${text}`
}
