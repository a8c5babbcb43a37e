import type { DataSource, EntitySubscriberInterface } from 'typeorm'
import type { AnyAttached } from './attachment/attached'
import { filesOf, newVersion } from './attachment/record'
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
import { send, warn } from './lifecycle/send'
import type { Storage } from './storage/storage'
import { type Binding, bindAll } from './typeorm/binding'
import { rowsOf } from './typeorm/rows'
import { type Run, runOnPrimary } from './typeorm/run'
import { type Committed, subscriber, tell } from './typeorm/subscriber'

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

/** What nobody touched for so long was lost, as far as `requeueLost()` knows. Milliseconds. */
const lostAfter = 5 * 60_000
/** How often a worker looks for lost jobs. Milliseconds. */
const lookAround = 60_000

const defaultRetry: RetryPolicy = {
  attempts: 5,
  backoff: (attempt) => 1_000 * 2 ** (attempt - 1) * (0.5 + Math.random()),
}

/** What is there between `connect()` and `close()`. */
interface Connection {
  readonly dataSource: DataSource
  readonly binding: Binding
  readonly listener: EntitySubscriberInterface
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
  #connected: Connection | undefined

  constructor({ staging, storage, background, retry }: AttachmentsOptions) {
    this.#staging = staging
    this.#storages = isStorage(storage) ? { default: storage } : storage
    this.#background = background
    this.#retry = { ...defaultRetry, ...retry }
  }

  /**
   * Ties the attachments of all entities to a data source that is initialized. Rejects when a storage cannot be
   * prepared (a folder that cannot be made, a client without credentials), or an attachment names one that is not there.
   */
  async connect(dataSource: DataSource): Promise<void> {
    if (!dataSource.isInitialized)
      throw new UsageError('not_initialized', 'the data source is not initialized: await dataSource.initialize() before connect()')
    if (this.#connected)
      throw new UsageError('already_connected', 'these attachments are connected already: close() them first, or make others for another data source')
    await Promise.all([this.#staging, ...Object.values(this.#storages)].map((storage) => storage.prepare?.()))

    const surroundings = { staging: this.#staging, storage: (name: string | undefined) => this.#storage(name) }
    const binding = bindAll(dataSource, surroundings, (version) => this.#intents.get(version) !== undefined)
    const listener = subscriber({
      intents: this.#intents,
      attachmentsOf: (metadata) => binding.of(metadata),
      storageName: ({ definition }) => definition.storage ?? (Object.keys(this.#storages)[0] as string),
      committed: (entries, run) => this.#committed(entries, run),
    })
    // first, because another subscriber that throws would keep TypeORM from calling the rest
    dataSource.subscribers.unshift(listener)
    this.#connected = { dataSource, binding, listener }
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
    const bound = this.#connection().binding.findFor(entity, property)
    const file = await receive(bound.definition, bound.entity, entity, source, options, this.#staging)
    if (!this.#connected) {
      await this.#staging.delete(filesOf(file).staged)
      throw new UsageError('not_connected', `the attachments were closed while ${bound.entity}.${property} took its file: close() last`)
    }
    this.#intents.add({ entity: bound.entity, attachment: property, version: file.version, file })
    Object.assign(entity, { [property]: bound.create(file) })
  }

  /** Takes the file off the entity; `save()` then deletes it. Setting the property to null does the same. */
  async detach<E extends object, P extends AttachmentOf<E>>(entity: E, property: P): Promise<void> {
    const bound = this.#connection().binding.findFor(entity, property)
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
    const { dataSource, binding } = this.#connection()
    const attachments = binding.attachments.map(({ entity, property }) => ({ entity, attachment: property }))
    const run = runOnPrimary(dataSource)
    return requeueLost(attachments, olderThan, this.#ports(run), (job) => this.#send(job, run))
  }

  /** Resolves when this process has no job left: for scripts and tests. */
  async idle(): Promise<void> {
    await this.#background.idle?.()
  }

  /** Finishes the jobs that run, and lets go of the data source. Files whose job has not begun are found again by `requeueLost()`. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.stop()))
    await this.#background.close?.()
    if (!this.#connected) return
    const { dataSource, binding, listener } = this.#connected
    dataSource.subscribers.splice(dataSource.subscribers.indexOf(listener), 1)
    binding.undo()
    this.#connected = undefined
  }

  /** What follows a commit: the jobs are sent, and an entity whose file was processed on the spot is shown how that ended. */
  async #committed(entries: readonly Committed[], run: Run): Promise<void> {
    for (const { intent } of entries) if (intent) this.#intents.consume(intent.version)
    const sent = entries.map(async ({ job, bound, owner }) => {
      if (!job) return
      const done = await this.#send(job, run)
      if (done === 'sent' || !owner || job.kind !== 'process') return
      const now = await bound.table.read(run, job.id)
      if (now?.version === job.version) tell(owner, bound, now)
    })
    await Promise.all(sent).catch((error) => warn(`after a commit: ${messageOf(error)}`))
  }

  #send(job: Job, run: Run): Promise<'performed' | 'sent'> {
    const { definition } = this.#connection().binding.find(job.entity, job.attachment)
    const once = { ...this.#ports(run), retry: { ...this.#retry, attempts: 1 } }
    return send(job, definition.inBackground ? this.#background : inlineBackground(), () => perform(job, 1, once))
  }

  async #perform(job: Job, attempt: number): Promise<void> {
    await perform(job, attempt, this.#ports(runOnPrimary(this.#connection().dataSource)))
  }

  #ports(run: Run): Ports {
    const { binding } = this.#connection()
    return {
      rows: rowsOf((entity, attachment) => binding.find(entity, attachment), run),
      staging: this.#staging,
      storage: (name) => this.#storage(name),
      definition: (entity, attachment) => binding.find(entity, attachment).definition,
      retry: this.#retry,
    }
  }

  #connection(): Connection {
    if (!this.#connected) throw new UsageError('not_connected', 'the attachments are not connected: await attachments.connect(dataSource) first')
    return this.#connected
  }

  #storage(name = Object.keys(this.#storages)[0] ?? ''): Storage {
    const storage = Object.hasOwn(this.#storages, name) ? this.#storages[name] : undefined
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
