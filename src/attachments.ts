import type { DataSource, QueryRunner } from 'typeorm'
import type { AnyAttached } from './attachment/attached'
import { newVersion } from './attachment/record'
import type { BackgroundAdapter, Worker } from './background/adapter'
import { inlineBackground } from './background/inline'
import type { Job } from './background/job'
import { messageOf, UsageError } from './errors'
import type { Source } from './file/source'
import { type AttachOptions, receive } from './lifecycle/attach'
import { intents } from './lifecycle/intents'
import { perform } from './lifecycle/perform'
import type { Ports, RetryPolicy } from './lifecycle/ports'
import { requeueLost } from './lifecycle/requeue'
import type { Storage } from './storage/storage'
import { type BoundAttachment, bindAll } from './typeorm/binding'
import { rowsOf } from './typeorm/rows'
import { type Committed, runOn, subscriber, tell } from './typeorm/subscriber'
import type { Run } from './typeorm/table'

export interface AttachmentsOptions {
  /** Where originals wait for their job. Web and worker must see the same. */
  staging: Storage
  /** Where files end up: one storage, or several by name, of which the first is the default. */
  storage: Storage | Readonly<Record<string, Storage>>
  /** What carries jobs to a worker. */
  background: BackgroundAdapter
  /** How often a job is tried, and the milliseconds to wait after each attempt. Default 5 attempts, 1 s doubling, with jitter. */
  retry?: Partial<RetryPolicy>
}

/** How long a commit waits for a queue; then the row's own `processing` is left to bring the job back. Milliseconds. */
const patience = 2_000
/** What nobody touched for so long was lost, as far as `requeueLost()` knows. Milliseconds. */
const lostAfter = 5 * 60_000
/** How often a worker looks for lost jobs. Milliseconds. */
const lookAround = 60_000

const defaultRetry: RetryPolicy = {
  attempts: 5,
  backoff: (attempt) => 1_000 * 2 ** (attempt - 1) * (0.5 + Math.random()),
}

/** The names of a type's attachments. */
type AttachmentOf<E> = { [P in keyof E]-?: NonNullable<E[P]> extends AnyAttached ? P : never }[keyof E] & string

/** A data source's attachments at work: everything that a program calls. */
export class Attachments {
  readonly #staging: Storage
  readonly #storages: Readonly<Record<string, Storage>>
  readonly #background: BackgroundAdapter
  readonly #retry: RetryPolicy
  readonly #intents = intents()
  readonly #workers = new Set<Worker>()
  #connected: { dataSource: DataSource; bound: ReadonlyMap<string, BoundAttachment>; disconnect(): void } | undefined

  constructor({ staging, storage, background, retry }: AttachmentsOptions) {
    this.#staging = staging
    this.#storages = isStorage(storage) ? { default: storage } : storage
    this.#background = background
    this.#retry = { ...defaultRetry, ...retry }
  }

  /**
   * Ties the attachments of all entities to a data source that is initialized. Rejects when a storage cannot be
   * reached, or an attachment names one that is not there.
   */
  async connect(dataSource: DataSource): Promise<void> {
    if (!dataSource.isInitialized)
      throw new UsageError('not_initialized', 'the data source is not initialized: await dataSource.initialize() before connect()')
    if (this.#connected)
      throw new UsageError('already_connected', 'these attachments are connected already: close() them first, or make others for another data source')
    await Promise.all([this.#staging, ...Object.values(this.#storages)].map((storage) => storage.prepare?.()))

    const surroundings = { staging: this.#staging, storage: (name: string | undefined) => this.#storage(name) }
    const { attachments: all, undo } = bindAll(dataSource, surroundings, (version) => this.#intents.get(version) !== undefined)
    const byEntity = new Map(all.map(({ metadata }) => [metadata, all.filter((bound) => bound.metadata === metadata)]))
    const listener = subscriber({
      intents: this.#intents,
      attachmentsOf: (metadata) => byEntity.get(metadata) ?? [],
      storageName: ({ definition }) => definition.storage ?? (Object.keys(this.#storages)[0] as string),
      committed: (entries, run) => this.#committed(entries, run),
    })
    // first, because another subscriber that throws would keep TypeORM from calling the rest
    dataSource.subscribers.unshift(listener)
    this.#connected = {
      dataSource,
      bound: new Map(all.map((bound) => [`${bound.entity}.${bound.property}`, bound])),
      disconnect: () => {
        dataSource.subscribers.splice(dataSource.subscribers.indexOf(listener), 1)
        undo()
      },
    }
    this.#background.start?.((job, attempt) => this.#perform(job, attempt))
  }

  /**
   * Reads a file and puts it on the entity; `save()` then makes it stay. Until then nothing but the staging has changed.
   * Rejects with a `RefusedFileError` when the file is not taken, and keeps nothing of it.
   */
  async attach<E extends object, P extends AttachmentOf<E>>(
    entity: E,
    property: P,
    source: Source | AnyAttached,
    options: AttachOptions = {},
  ): Promise<void> {
    const bound = this.#boundOf(entity, property)
    const file = await receive(bound.definition, bound.entity, entity, source, options, this.#staging)
    this.#intents.add({ entity: bound.entity, attachment: property, version: file.version, file })
    Object.assign(entity, { [property]: bound.create(file) })
  }

  /** Takes the file off the entity; `save()` then deletes it. Setting the property to null does the same. */
  async detach<E extends object, P extends AttachmentOf<E>>(entity: E, property: P): Promise<void> {
    const bound = this.#boundOf(entity, property)
    const version = newVersion()
    this.#intents.add({ entity: bound.entity, attachment: property, version, file: null })
    Object.assign(entity, { [property]: bound.detached(version) })
  }

  /**
   * Works on what the background adapter brings, until it is stopped; at once and then every minute it looks for jobs
   * that were lost.
   *
   * @param concurrency jobs at a time; default 2
   */
  async work({ concurrency = 2 }: { concurrency?: number } = {}): Promise<Worker> {
    this.#connection()
    const inner = await this.#background.work((job, attempt) => this.#perform(job, attempt), { concurrency })
    let looking = Promise.resolve()
    const look = () => {
      looking = this.requeueLost().then(
        () => undefined,
        (error) => warn(`looking for lost jobs failed, and will be tried again: ${messageOf(error)}`),
      )
    }
    look()
    const timer = setInterval(look, lookAround)
    const worker: Worker = {
      stop: async () => {
        clearInterval(timer)
        this.#workers.delete(worker)
        await looking
        await inner.stop()
      },
    }
    this.#workers.add(worker)
    return worker
  }

  /**
   * Enqueues again what is processing and that no job was enqueued for or began with in the last `olderThan` milliseconds (default
   * five minutes): its job was lost with a process or a queue. Resolves to how many there were.
   */
  async requeueLost({ olderThan = lostAfter }: { olderThan?: number } = {}): Promise<number> {
    const { bound } = this.#connection()
    const attachments = [...bound.values()].map(({ entity, property }) => ({ entity, attachment: property }))
    return this.#onConnection(async (run) => {
      return requeueLost(attachments, olderThan, this.#ports(run), (job) => this.#send(job, run))
    })
  }

  /** Resolves when this process has no job left: for scripts and tests. */
  async idle(): Promise<void> {
    await this.#background.idle?.()
  }

  /** Finishes the jobs that run, and lets go of the data source. What has not begun is found again by `requeueLost()`. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.stop()))
    await this.#background.close?.()
    this.#connected?.disconnect()
    this.#connected = undefined
  }

  /** What follows a commit. The rows are safe by now, so nothing here may make `save()` fail. */
  async #committed(entries: readonly Committed[], run: Run): Promise<void> {
    for (const { intent } of entries) if (intent) this.#intents.consume(intent.version)
    await Promise.all(
      entries.map(async ({ job, bound, owner }) => {
        if (!job) return
        await this.#send(job, run)
        const now = owner && job.kind === 'process' && this.#runsNow(bound) ? await bound.table.read(run, job.id) : undefined
        if (owner && now && now.version === (owner[bound.property] as AnyAttached).version) tell(owner, bound, now)
      }),
    ).catch((error) => warn(`after a commit: ${messageOf(error)}`))
  }

  /** Hands a job over, or does it here where it is not to wait. What a queue does not take in time is left to `requeueLost()`. */
  async #send(job: Job, run: Run): Promise<void> {
    const adapter = this.#runsNow(this.#bound(job.entity, job.attachment)) ? inlineBackground() : this.#background
    let here = false
    const sent = adapter.enqueue(job, async () => {
      here = true
      await perform(job, 1, { ...this.#ports(run), retry: { ...this.#retry, attempts: 1 } })
    })
    const late = timeout(patience)
    try {
      await Promise.race([sent, late.over.then(() => (here ? sent : Promise.reject(new Error(`the queue did not answer within ${patience} ms`))))])
    } catch (error) {
      sent.catch(() => undefined)
      warn(
        `the ${job.kind} job of ${job.entity}.${job.attachment} could not be enqueued, requeueLost() will find what was saved: ${messageOf(error)}`,
      )
    } finally {
      late.cancel()
    }
  }

  #runsNow({ definition }: BoundAttachment): boolean {
    return !definition.inBackground
  }

  async #perform(job: Job, attempt: number): Promise<void> {
    await this.#onConnection((run) => perform(job, attempt, this.#ports(run)))
  }

  #ports(run: Run): Ports {
    return {
      rows: rowsOf((entity, attachment) => this.#bound(entity, attachment), run),
      staging: this.#staging,
      storage: (name) => this.#storage(name),
      definition: (entity, attachment) => this.#bound(entity, attachment).definition,
      retry: this.#retry,
    }
  }

  /** Each statement takes a connection to the primary and gives it back: a job holds none while it makes pictures. */
  async #onConnection<T>(work: (run: Run) => Promise<T>): Promise<T> {
    const { dataSource } = this.#connection()
    return work(async (sql, parameters) => {
      const runner: QueryRunner = dataSource.createQueryRunner('master')
      try {
        return await runOn(runner)(sql, parameters)
      } finally {
        await runner.release()
      }
    })
  }

  #connection() {
    if (!this.#connected) throw new UsageError('not_connected', 'the attachments are not connected: await attachments.connect(dataSource) first')
    return this.#connected
  }

  #boundOf(entity: object, property: string): BoundAttachment {
    const { dataSource } = this.#connection()
    const target = entity?.constructor
    if (!target || !dataSource.hasMetadata(target)) {
      throw new UsageError(
        'unknown_entity',
        `${target?.name ?? String(entity)} is no entity of the connected data source: give an instance of one, such as repository.create({ … })`,
      )
    }
    return this.#bound(dataSource.getMetadata(target).name, property)
  }

  #bound(entity: string, attachment: string): BoundAttachment {
    const { bound } = this.#connection()
    const found = bound.get(`${entity}.${attachment}`)
    if (found) return found
    const known = [...bound.keys()].join(', ') || 'none'
    throw new UsageError(
      'unknown_attachment',
      `there is no attachment ${entity}.${attachment}: there are ${known}. Put @Attachment() on the property`,
    )
  }

  #storage(name = Object.keys(this.#storages)[0] ?? ''): Storage {
    const storage = this.#storages[name]
    if (storage) return storage
    throw new UsageError(
      'unknown_storage',
      `there is no storage '${name}': there are ${Object.keys(this.#storages).join(', ')}. Give it to new Attachments({ storage: { … } })`,
    )
  }
}

function isStorage(storage: AttachmentsOptions['storage']): storage is Storage {
  return typeof (storage as Storage).write === 'function'
}

function timeout(milliseconds: number): { over: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  return { over, cancel: () => clearTimeout(timer) }
}

function warn(message: string): void {
  process.emitWarning(message, 'AttachmentWarning')
}
