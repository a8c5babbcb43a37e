import type { DataSource, QueryRunner } from 'typeorm'
import { Attached } from './attachment/attached'
import type { News } from './attachment/ready'
import type { AttachmentRecord } from './attachment/record'
import type { AttachmentName } from './attachment/rows'
import {
  type BackgroundAdapter,
  type Database,
  type JobReport,
  NotHere,
  type Progress,
  type Query,
  type Sending,
  TryLater,
} from './background/adapter'
import { inlineBackground } from './background/inline'
import { checkJob, type Job, keyOf, type ProcessJob } from './background/job'
import type { Definition } from './definition/definition'
import { messageOf, UsageError } from './errors'
import type { FoundFile } from './http/watch-port'
import { handBack } from './lifecycle/hand-back'
import { intents } from './lifecycle/intents'
import { prepareDeletes, withdrawDeletes } from './lifecycle/notes'
import { perform } from './lifecycle/perform'
import type { Place } from './lifecycle/plan'
import type { Ports, RetryPolicy } from './lifecycle/ports'
import { inTime, send, warn } from './lifecycle/send'
import type { WatchTokens } from './lifecycle/watch-token'
import type { Notifier } from './notify/notifier'
import type { Signal } from './notify/signal'
import { type AttachmentEvents, type Signals, signalsOf, type Teller } from './notify/signals'
import type { Storage } from './storage/storage'
import { type Binding, type BoundAttachment, bindAll, rowRef } from './typeorm/binding'
import { rowsOf } from './typeorm/rows'
import { inSavepoint, type Run, readOnPrimary, runOnPrimary } from './typeorm/run'
import { type Committed, type Prepared, subscriber, tell } from './typeorm/subscriber'
import { signalsFrom, tellWith } from './typeorm/told'

/** What the attachments of a data source work with. */
export interface Setup {
  readonly staging: Storage
  /** By its name; without one the first. Throws a `UsageError` for a name that is not configured. */
  storage(name: string | undefined): Storage
  readonly firstStorage: string
  readonly background: BackgroundAdapter
  readonly retry: RetryPolicy
  readonly notifier: Notifier | undefined
  readonly events: AttachmentEvents
  /** Throws a `UsageError` without a secret. */
  watchTokens(): WatchTokens
  readonly hasSecret: boolean
}

type Enqueue = (job: Job) => Promise<unknown>

/** When to look at a row even if nobody has told anything about it: where nobody tells, and where somebody should. Milliseconds. */
const lookAlone = 1_000
const lookBeside = 30_000
export const pauseBetweenLooks = (notifier: Notifier | undefined) => (notifier ? lookBeside : lookAlone)

/** For how long a process with a queue of its own may be behind. Milliseconds. */
const longestBacklog = 24 * 60 * 60_000

/** What there is between `connect()` and `close()`: the lifecycle, tied to one data source. */
export class Connection {
  readonly intents = intents()
  readonly binding: Binding
  readonly signals: Signals
  /** Jobs that have not begun are handed back. */
  closing = false
  /** Nothing is told any more. */
  #released = false
  /** For questions that are asked in somebody's transaction. */
  readonly reading: Run
  readonly #database: Database
  readonly #run: Run
  readonly #release: () => void

  constructor(
    readonly dataSource: DataSource,
    readonly setup: Setup,
  ) {
    const { staging } = setup
    const isIntent = (version: string) => this.isIntent(version)
    this.#database = { kind: dataSource.options.type }
    this.#run = runOnPrimary(dataSource)
    this.reading = readOnPrimary(dataSource)
    setup.notifier?.check?.(this.#database.kind)
    const newsOf = (entity: string, property: string) => this.#newsOf({ entity, attachment: property })
    this.binding = bindAll(dataSource, { staging, newsOf, storage: (name) => setup.storage(name) }, isIntent)
    this.signals = signalsOf({
      events: setup.events,
      notifier: setup.notifier,
      channelOf: (version) => (setup.hasSecret ? setup.watchTokens().channelOf(version) : undefined),
    })
    const listener = subscriber({
      intents: this.intents,
      attachmentsOf: (metadata) => this.binding.of(metadata),
      placeOf: (bound, owner) => this.#placeOf(bound, owner),
      committing: async (entries, runner) => {
        const left = entries.flatMap(({ left }) => left ?? [])
        const deletes = await prepareDeletes(left, isIntent, { staging, now: () => new Date() })
        const carried = await this.#carry([...jobsOf(entries).keys(), ...deletes], runner)
        return { deletes, carried, told: await this.#tellWith(runner, signalsFrom(entries)) }
      },
      refused: ({ deletes }) => withdrawDeletes(deletes, staging),
      committed: (entries, prepared, run) => this.#committed(entries, prepared, run),
    })
    // first, because another subscriber that throws would keep TypeORM from calling the rest
    dataSource.subscribers.unshift(listener)
    this.#release = () => {
      dataSource.subscribers.splice(dataSource.subscribers.indexOf(listener), 1)
      this.binding.undo()
    }
  }

  /** Whether a version was attached here, and may still be saved. */
  isIntent(version: string): boolean {
    return this.intents.get(version) !== undefined
  }

  names(): AttachmentName[] {
    return this.binding.attachments.map(({ entity, property }) => ({ entity, attachment: property }))
  }

  /** Names of the queues that jobs are sent to. */
  queues(): string[] {
    return [...new Set(['default', ...this.binding.attachments.map(({ definition }) => definition.carried.queue)])]
  }

  /** What a queue brings. */
  async perform(given: unknown, attempt: number, told?: (progress: Progress) => void): Promise<JobReport> {
    // jobs that run in this process end with it: whoever comes next is to find them at once
    const here = this.setup.background.start !== undefined
    if (this.closing && here) return this.#handBack(given)
    try {
      return await perform(given, attempt, this.ports(), told)
    } catch (error) {
      // a queue of this process brings nothing to another worker
      if (error instanceof NotHere && here) return this.#handBack(given)
      // and it will not come again
      const job = this.closing && here && error instanceof TryLater ? checkJob(given) : undefined
      if (job?.kind === 'process') await handBack(job, this.ports())
      throw error
    }
  }

  /** Resolves when others have heard what has happened here, or do not answer. */
  async told(): Promise<void> {
    await inTime(this.signals.told(), 'the notifier').catch((error) => warn(messageOf(error)))
  }

  /** Leaves a job to whoever looks for lost ones. */
  async #handBack(given: unknown): Promise<JobReport> {
    await handBack(checkJob(given), this.ports())
    return { result: 'overtaken', styles: [], bytes: 0 }
  }

  /** Does something to the rows that may set jobs going. */
  async enqueueing<T>(work: (ports: Ports, enqueue: Enqueue) => Promise<T>): Promise<T> {
    return work(this.ports(), (job) => this.#send(job, this.#run))
  }

  /** Sets the job of an entity's file going again, and shows the entity what its row says then; false if there was none. */
  async again(
    entity: object,
    property: string,
    work: (place: Place, ports: Ports, enqueue: Enqueue) => Promise<AttachmentRecord | null>,
  ): Promise<boolean> {
    const bound = this.binding.findFor(entity, property)
    const value = (entity as Record<string, unknown>)[property]
    if (value instanceof Attached && this.isIntent(value.version ?? '')) {
      throw new UsageError('not_saved', `${bound.entity}.${property} was given a file or lost one, which is not saved yet: save() the entity first`)
    }
    const jobs: Job[] = []
    const record = await work(this.#placeOf(bound, entity), this.ports(), async (job) => jobs.push(job))
    if (!record) return false
    tell(entity, bound, record)
    for (const job of jobs) await this.#sendFor(job, bound, entity, this.#run)
    return true
  }

  ports(run = this.#run): Ports {
    const { binding, setup } = this
    const { background, retry } = setup
    const teller = this.#teller(run)
    // whoever has a queue of his own works on it when he has time, whatever others may find meanwhile
    const elsewhere = background.work && !background.start ? retry.elsewhere : Math.max(retry.elsewhere, longestBacklog)
    return {
      rows: rowsOf((entity, attachment) => binding.find(entity, attachment), run, teller),
      staging: setup.staging,
      storage: (name) => setup.storage(name),
      definition: (entity, attachment) => binding.find(entity, attachment).definition,
      retry: { ...retry, elsewhere },
      tell: (signal) => teller.tell(signal, 'are to be told'),
      now: () => new Date(),
      every(interval, task) {
        const timer = setInterval(task, interval)
        return () => clearInterval(timer)
      },
    }
  }

  /** The files of an attachment that have one of these versions now. */
  async filesAt({ entity, attachment }: AttachmentName, versions: readonly string[]): Promise<Map<string, FoundFile>> {
    const bound = this.binding.find(entity, attachment)
    const found = await this.ports().rows.atVersions(entity, attachment, versions)
    return new Map(found.map(({ ref, record }) => [record.version, { ref, file: bound.create(record) as FoundFile['file'] }]))
  }

  async release(): Promise<void> {
    this.#released = true
    this.#release()
    await this.told()
    await this.signals.close()
  }

  /** Before a commit: what a queue in the same database takes, it takes within the transaction. */
  async #carry(jobs: readonly Job[], runner: QueryRunner): Promise<ReadonlySet<Job>> {
    const { background } = this.setup
    const carried = jobs.filter((job) => this.#definitionOf(job).inBackground)
    if (!background.enqueueWithin || carried.length === 0 || !runner.isTransactionActive) return new Set()
    const sendings = carried.map((job) => [job, this.#sending(job, this.#run)] as const)
    try {
      const taken = await inSavepoint(runner, async (run) => {
        const query: Query = async (sql, parameters) => (await run(sql, [...parameters])).records
        return background.enqueueWithin?.(sendings, query, this.#database)
      })
      return new Set(taken ? carried : [])
    } catch (error) {
      warn(`the jobs of a transaction could not be sent with it, and will be after it: ${messageOf(error)}`)
      return new Set()
    }
  }

  /** Before a commit. Whether others hear of it with the transaction. */
  #tellWith(runner: QueryRunner, signals: readonly Signal[]): Promise<boolean> {
    return tellWith(runner, signals, this.signals.along).catch((error) => {
      warn(`others could not be told of a transaction with it, and will be after it: ${messageOf(error)}`)
      return false
    })
  }

  #teller(run: Run): Teller {
    return this.signals.teller((sql, parameters) => run(sql, [...parameters]))
  }

  #newsOf(name: AttachmentName): News {
    const { setup } = this
    return {
      ended: () => this.#released,
      pause: pauseBetweenLooks(setup.notifier),
      watch: (version, wake) => this.signals.watch(version, wake),
      look: async (version) => (await this.ports().rows.atVersions(name.entity, name.attachment, [version]))[0]?.record ?? null,
      watchToken: (version, expiresIn) => setup.watchTokens().sign({ ...name, version, until: Date.now() + expiresIn * 1000 }),
    }
  }

  /** What follows a commit: the jobs are sent. */
  async #committed(entries: readonly Committed[], { deletes, carried, told }: Prepared, run: Run): Promise<void> {
    for (const { intent } of entries) if (intent) this.intents.consume(intent.version)
    // not on the connection of the transaction, which nobody keeps until all are told
    const teller = this.#teller(this.#run)
    for (const signal of signalsFrom(entries)) teller.tell(signal, told ? 'were told' : 'are to be told')
    const sent = [...jobsOf(entries)].map(async ([job, { bound, owner }]) => {
      if (!carried.has(job)) await this.#sendFor(job, bound, owner, run)
    })
    const deleted = deletes.map((job) => (carried.has(job) ? undefined : this.#send(job, run)))
    await Promise.all([...sent, ...deleted]).catch((error) => warn(`after a commit: ${messageOf(error)}`))
  }

  /** Where a job is done on the spot, its entity is shown how that ended. */
  async #sendFor(job: Job, bound: BoundAttachment, owner: object | null, run: Run): Promise<void> {
    const done = await this.#send(job, run)
    if (done === 'sent' || !owner || job.kind === 'delete') return
    const now = await bound.table.read(run, job.id)
    if (now?.version === job.version) tell(owner, bound, now)
  }

  #send(job: Job, run: Run): Promise<'performed' | 'sent'> {
    return send(job, this.#definitionOf(job).inBackground ? this.setup.background : inlineBackground(), this.#sending(job, run))
  }

  #sending(job: Job, run: Run): Sending {
    const { retry } = this.setup
    const { queue, priority, delay } = this.#definitionOf(job).carried
    const once = { ...this.ports(run), retry: { ...retry, attempts: 1 } }
    const performNow = async () => {
      await perform(job, 1, once).catch((error) => {
        if (!(error instanceof NotHere)) throw error
        return this.#handBack(job)
      })
    }
    return { key: keyOf(job), queue, priority, delay: job.kind === 'process' ? delay : 0, attempts: retry.attempts, performNow }
  }

  #definitionOf({ entity, attachment }: Job): Definition {
    return this.binding.find(entity, attachment).definition
  }

  #placeOf({ definition, metadata, property }: BoundAttachment, entity: object): Place {
    return { definition, storage: definition.storage ?? this.setup.firstStorage, ref: { ...rowRef(metadata, entity), attachment: property } }
  }
}

/** The jobs of what was saved, and for whom. A file that was saved twice in the transaction has one. */
function jobsOf(entries: readonly Committed[]): Map<ProcessJob, Committed> {
  const versions = entries.map(({ job }) => job?.version)
  return new Map(entries.flatMap((entry, at) => (entry.job && versions.indexOf(entry.job.version) === at ? [[entry.job, entry]] : [])))
}
