import { EventEmitter } from 'node:events'
import { availableParallelism } from 'node:os'
import type { DataSource } from 'typeorm'
import type { AnyAttached, Attached } from './attachment/attached'
import { newVersion, stagedKeys } from './attachment/record'
import type { BackgroundAdapter, JobReport, Worker, WorkOptions } from './background/adapter'
import type { Job } from './background/job'
import { type PerformedJob, telling } from './background/performed'
import { Connection, pauseBetweenLooks, type Setup } from './connection'
import { checkStyleName } from './definition/definition'
import { messageOf, UsageError } from './errors'
import { DirectUpload, type Source } from './file/source'
import { type DirectUploadOptions, directUploads, type FetchHandler } from './http/direct-uploads'
import { objectsCreated } from './http/object-created'
import type { UploadPort } from './http/upload-port'
import type { WatchOptions } from './http/watch'
import { arrived } from './lifecycle/arrived'
import { type AttachOptions, receive } from './lifecycle/attach'
import type { Announced } from './lifecycle/direct'
import type { RetryPolicy } from './lifecycle/ports'
import { requeueLost } from './lifecycle/requeue'
import { reprocess, retry, retryAll } from './lifecycle/retry'
import { warn } from './lifecycle/send'
import { sweepStaging, unsavedLifetime } from './lifecycle/sweep'
import { type Tokens, tokensOf } from './lifecycle/token'
import { type WatchTokens, watchTokensOf } from './lifecycle/watch-token'
import type { Notifier } from './notify/notifier'
import type { AttachmentEvents } from './notify/signals'
import type { Storage, UploadForm } from './storage/storage'
import { checkExpiry, type ExpectOptions, Uploads } from './uploads'
import { Watching } from './watching'

export interface AttachmentsOptions {
  /** Where originals wait for their job. Web and worker must see the same. */
  staging: Storage
  /** Where files end up: one storage, or several by name, of which the first is the default. */
  storage: Storage | Readonly<Record<string, Storage>>
  /** What carries jobs to a worker. */
  background: BackgroundAdapter
  /**
   * How often a job is tried, and the milliseconds to wait after each attempt. Default 5 attempts, 1 s doubling, with jitter. And for
   * how many a file may wait for a worker that sees its staging: a quarter of an hour.
   */
  retry?: Partial<RetryPolicy>
  /**
   * Signs the tokens of direct uploads and of watching: 32 characters or more, the same in every process. Of several the first signs, and all are
   * taken, so that one can be replaced.
   */
  secret?: string | readonly string[]
  /** What tells other processes what happens to files. Default: nobody is told, and whoever waits looks every second. */
  notifier?: Notifier
}

/** What nobody touched for so long was lost, as far as `requeueLost()` knows. Milliseconds. */
const lostAfter = 5 * 60_000
/** How often a worker looks for lost jobs. Milliseconds. */
const lookAround = 60_000
/** How often it sweeps the staging. Milliseconds. */
const sweepAround = 60 * 60_000

/** Keys of one event that are looked at at a time. An event may name thousands, and the process has other questions to its database. */
const newsAtOnce = 4

const defaultRetry: RetryPolicy = {
  attempts: 5,
  backoff: (attempt) => 1_000 * 2 ** (attempt - 1) * (0.5 + Math.random()),
  elsewhere: 15 * 60_000,
}

/** Takes jobs until it is stopped. */
export interface RunningWorker extends Worker, WorkOptions {
  /** Jobs that it is performing. */
  readonly running: ReadonlySet<Job>
}

/** The styles of an attachment. */
type StyleOf<A> = NonNullable<A> extends Attached<infer S> ? S : never

/** The names of a type's attachments. */
type AttachmentOf<E> = { [P in keyof E]-?: NonNullable<E[P]> extends AnyAttached ? P : never }[keyof E] & string

/** A data source's attachments at work: everything that a program calls. */
export class Attachments {
  /**
   * Tells what happens to files: `attached`, `processing`, `progress`, `processed`, `failed` and `removed`, each with a `Signal`, after it
   * was committed. What other processes do is told where there is a notifier. A listener that throws or rejects is a warning.
   */
  readonly events: AttachmentEvents = new EventEmitter()
  readonly #setup: Setup
  readonly #storages: readonly Storage[]
  readonly #workers = new Set<Worker>()
  readonly #secrets: readonly string[]
  #connected: Connection | undefined
  #tokens: Tokens | undefined
  #watchTokens: WatchTokens | undefined
  #watching: Watching | undefined

  constructor({ staging, storage, background, retry, secret = [], notifier }: AttachmentsOptions) {
    const storages = isStorage(storage) ? { default: storage } : storage
    const firstStorage = Object.keys(storages)[0] as string
    this.#storages = [staging, ...Object.values(storages)]
    this.#secrets = [secret].flat()
    this.#setup = {
      staging,
      storage: (name = firstStorage) => storageNamed(name, storages),
      firstStorage,
      background,
      retry: { ...defaultRetry, ...retry },
      notifier,
      events: this.events,
      hasSecret: this.#secrets.length > 0,
      watchTokens: () => {
        this.#watchTokens ??= watchTokensOf(this.#secrets)
        return this.#watchTokens
      },
    }
  }

  /** What carries jobs to a worker. */
  get background(): BackgroundAdapter {
    return this.#setup.background
  }

  /** The one that they are connected to; undefined before `connect()` and after `close()`. */
  get dataSource(): DataSource | undefined {
    return this.#connected?.dataSource
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
    await Promise.all(this.#storages.map((storage) => storage.prepare?.()))
    const connection = new Connection(dataSource, this.#setup)
    this.#connected = connection
    this.#setup.background.start?.((job, attempt, told) => connection.perform(job, attempt, told))
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
    const { binding, intents, setup } = this.#connection()
    const bound = binding.findFor(entity, property)
    const closed = () => new UsageError('not_connected', `the attachments were closed while ${bound.entity}.${property} took its file: close() last`)
    if (source instanceof DirectUpload) {
      const value = await this.#uploads().take(bound, entity, source, options)
      if (!this.#connected) throw closed()
      return void Object.assign(entity, { [property]: value })
    }
    const file = await receive(bound.definition, bound.entity, entity, source, options, setup.staging)
    if (!this.#connected) {
      await setup.staging.delete(stagedKeys(file.meta))
      throw closed()
    }
    intents.add({ entity: bound.entity, attachment: property, version: file.version, file })
    Object.assign(entity, { [property]: bound.create(file) })
  }

  /**
   * A token by which another request, or another process, attaches the same file by `fromDirectUpload()`: so that a form which is shown
   * once more keeps what was chosen, or one process attaches and another saves. Good for twelve hours, or as long as the token by
   * which the file came, and until it is saved. Throws a
   * `UsageError` where no file waits to be saved.
   *
   * @param subject whoever it is for: nobody else can use it then
   */
  tokenFor<E extends object, P extends AttachmentOf<E>>(entity: E, property: P, { subject = null }: { subject?: string | null } = {}): string {
    const { binding } = this.#connection()
    return this.#uploads().tokenFor(binding.findFor(entity, property), entity[property] as AnyAttached, subject)
  }

  /**
   * Saves the entity with a file that is yet to be uploaded, and returns how a browser is to upload it. The file is `awaiting` until it is
   * there: the bucket's event says so by `handleObjectCreated()`, and then it is looked at, and processed. Rejects with a
   * `RefusedFileError` what would not be taken anyway.
   */
  async expect<E extends object, P extends AttachmentOf<E>>(
    entity: E,
    property: P,
    announced: Announced,
    options: ExpectOptions = {},
  ): Promise<UploadForm> {
    const { binding } = this.#connection()
    return this.#uploads().expect(binding.findFor(entity, property), entity, announced, options)
  }

  /**
   * Takes the event by which a bucket tells of new objects, however it came: to a Lambda, through SQS, SNS or EventBridge, to a
   * webhook. Sets the jobs of awaited files going, whose number it resolves to; everything else is no business of ours. Nothing in the
   * event is relied upon but that it may be time to look.
   */
  async handleObjectCreated(event: unknown): Promise<number> {
    const { uploads } = this.#connection().setup.staging
    const keys = objectsCreated(event).flatMap(({ bucket, key }) => uploads?.keyOf(key, bucket) ?? [])
    const left = new Set(keys).values()
    let awaited = 0
    const ended = await Promise.allSettled(
      Array.from({ length: newsAtOnce }, async () => {
        for (const key of left) if (await this.#arrived(key)) awaited++
      }),
    )
    await this.#connected?.told()
    for (const end of ended) if (end.status === 'rejected') throw end.reason
    return awaited
  }

  /**
   * A handler by which browsers upload straight to the staging, or through this process where the staging takes nothing from browsers:
   * `(request: Request) => Promise<Response>`, to be mounted at any path; for Express, Fastify and Nest in `toNodeHandler()`.
   */
  directUploads(options: DirectUploadOptions): FetchHandler {
    checkExpiry(options.expiresIn ?? 1)
    this.#tokensOf()
    // asked for with each request: the handler may be made before connect()
    const port: UploadPort = {
      plan: (asked, subject) => this.#uploads().plan(asked, subject),
      open: (token) => this.#uploads().open(token),
      arrived: (key) => this.#arrived(key),
      staging: this.#setup.staging,
    }
    return directUploads(port, options)
  }

  /**
   * A handler by which pages see what becomes of the files whose `watchToken()` they have:
   * `GET …?token=…&token=…`, answered by a stream of events or, where none is asked for, by JSON. Mounted as `directUploads()` is.
   */
  watch(options: WatchOptions = {}): FetchHandler {
    const { notifier, watchTokens } = this.#setup
    this.#watching ??= new Watching(() => this.#connection(), watchTokens(), pauseBetweenLooks(notifier), notifier?.topicOf?.bind(notifier))
    return this.#watching.handler(options)
  }

  /**
   * Performs one job: for functions that a queue calls with a job, instead of a worker that asks for them. Rejects where the job
   * should come again, and with a `UsageError` for what is no job.
   *
   * @param attempt counts from 1: how often the queue has delivered it
   */
  async perform(job: unknown, { attempt = 1 }: { attempt?: number } = {}): Promise<JobReport> {
    const connection = this.#connection()
    // a function may be frozen as soon as this has ended
    return connection.perform(job, attempt).finally(() => connection.told())
  }

  /** Takes the file off the entity; `save()` then deletes it. Setting the property to null does the same. */
  async detach<E extends object, P extends AttachmentOf<E>>(entity: E, property: P): Promise<void> {
    const { binding, intents } = this.#connection()
    const bound = binding.findFor(entity, property)
    const version = newVersion()
    intents.add({ entity: bound.entity, attachment: property, version, file: null })
    Object.assign(entity, { [property]: bound.detached(version) })
  }

  /**
   * Works on what the background adapter brings, until it is stopped. At once and then every minute it looks for jobs that were
   * lost; at once and then every hour it sweeps the staging.
   *
   * @param concurrency jobs of each queue at a time; default: as many as the machine has cores
   * @param queues those to take jobs from, by the names that attachments give them; default: all of these, and `'default'`
   * @param onJob is told of each job that this worker has performed; of none where jobs run in the process that saves
   */
  async work({
    concurrency = availableParallelism(),
    queues,
    onJob = () => undefined,
  }: Partial<WorkOptions> & { onJob?: (performed: PerformedJob) => void } = {}): Promise<RunningWorker> {
    const connection = this.#connection()
    const known = connection.queues()
    const stranger = queues?.find((name) => !known.includes(name))
    if (stranger !== undefined)
      throw new UsageError('unknown_queue', `no attachment sends its jobs to a queue '${stranger}': there are ${known.join(', ')}`)
    if (!Number.isInteger(concurrency) || concurrency < 1)
      throw new UsageError('bad_concurrency', `concurrency must be an integer from 1, not ${concurrency}`)
    const running = new Set<Job>()
    const perform = telling((job, attempt, told) => connection.perform(job, attempt, told), running, onJob)
    const options = { concurrency, queues: queues ?? known, attempts: this.#setup.retry.attempts }
    const inner = await this.#setup.background.work?.(perform, options)
    const lookers = [
      repeating(lookAround, 'looking for lost jobs', () => this.requeueLost()),
      repeating(sweepAround, 'sweeping the staging', () => this.sweepStaging()),
    ]
    const worker: RunningWorker = {
      ...options,
      running,
      stop: async () => {
        this.#workers.delete(worker)
        await Promise.all([inner?.stop(), ...lookers.map((stop) => stop())])
      },
    }
    this.#workers.add(worker)
    return worker
  }

  /**
   * Tries a failed file once more, with all its attempts. False if it had not failed. The entity in memory is shown what its row
   * says then.
   */
  async retry<E extends object, P extends AttachmentOf<E>>(entity: E, property: P): Promise<boolean> {
    return this.#connection().again(entity, property, ({ ref }, ports, enqueue) => retry(ref, ports, enqueue))
  }

  /** The same for every file of an attachment that has failed: `retryAll(User, 'avatar')`. Resolves to how many there were. */
  async retryAll<E extends object>(entity: new (...given: never[]) => E, property: AttachmentOf<E>): Promise<number> {
    const connection = this.#connection()
    const bound = connection.binding.findFor(entity.prototype, property)
    return connection.enqueueing((ports, enqueue) => retryAll({ entity: bound.entity, attachment: property }, ports, enqueue))
  }

  /**
   * Makes styles anew from the original, as they are declared now: all of them, or those that are named. The original and what is
   * not named stay where they are; what is replaced is shown until its successor is there, and deleted then. False if
   * there was nothing to make. Rejects with a `UsageError` while the file is being processed.
   */
  async reprocess<E extends object, P extends AttachmentOf<E>>(entity: E, property: P, styles?: readonly StyleOf<E[P]>[]): Promise<boolean> {
    return this.#connection().again(entity, property, (place, ports, enqueue) => {
      const { definition } = place
      for (const style of styles ?? []) checkStyleName(definition, style)
      const wanted = definition.stylesFor(entity).filter(({ name }) => styles?.includes(name as never) ?? true)
      return reprocess(place, wanted, ports, enqueue)
    })
  }

  /**
   * Enqueues again what nobody touched in the last `olderThan` milliseconds (default five minutes): jobs that were lost with a
   * process or a queue. A running job touches its row every minute. Resolves to how many there were.
   */
  async requeueLost({ olderThan = lostAfter }: { olderThan?: number } = {}): Promise<number> {
    const connection = this.#connection()
    return connection.enqueueing((ports, enqueue) => requeueLost(connection.names(), olderThan, ports, enqueue))
  }

  /**
   * Deletes staged files that no row refers to, once they are `olderThan` milliseconds old (default a day): what was attached and
   * never saved, and what a crash has left. Give no less than the hour that an attached file may wait for its `save()` in
   * another process. Resolves to how many there were. One staging belongs to one database: files that another one refers to
   * would be deleted.
   */
  async sweepStaging({ olderThan = unsavedLifetime }: { olderThan?: number } = {}): Promise<number> {
    const connection = this.#connection()
    return sweepStaging(connection.names(), olderThan, connection.ports(), (version) => connection.isIntent(version))
  }

  /** Resolves when this process has no job left: for scripts and tests. */
  async idle(): Promise<void> {
    await this.#setup.background.idle?.()
  }

  /**
   * Finishes the jobs that run, hands back those that have not begun, and lets go of the data source. Any worker that starts finds
   * what was handed back at once. Pages that watch are told what is known by then, and their streams end.
   */
  async close(): Promise<void> {
    const connection = this.#connected
    if (connection) connection.closing = true
    await Promise.all([...this.#workers].map((worker) => worker.stop()))
    await this.#setup.background.close?.()
    if (!connection) return
    this.#watching?.close()
    await connection.release()
    this.#connected = undefined
    // those that came meanwhile
    this.#watching?.close()
  }

  #arrived(key: string): Promise<boolean> {
    const connection = this.#connection()
    return connection.enqueueing((ports, enqueue) => arrived(key, connection.names(), ports, enqueue))
  }

  #uploads(): Uploads {
    return new Uploads(this.#connection(), () => this.#tokensOf())
  }

  #tokensOf(): Tokens {
    this.#tokens ??= tokensOf(this.#secrets)
    return this.#tokens
  }

  #connection(): Connection {
    if (!this.#connected) throw new UsageError('not_connected', 'the attachments are not connected: await attachments.connect(dataSource) first')
    return this.#connected
  }
}

/** Does something at once and then again and again; what comes back ends that, and waits for what is under way. */
function repeating(interval: number, what: string, work: () => Promise<unknown>): () => Promise<unknown> {
  let last: Promise<unknown> = Promise.resolve()
  const again = () => {
    last = work().catch((error) => warn(`${what} failed, and will be tried again: ${messageOf(error)}`))
  }
  again()
  const timer = setInterval(again, interval)
  return () => {
    clearInterval(timer)
    return last
  }
}

function isStorage(storage: AttachmentsOptions['storage']): storage is Storage {
  return typeof (storage as Storage).write === 'function'
}

function storageNamed(name: string, storages: Readonly<Record<string, Storage>>): Storage {
  const storage = Object.hasOwn(storages, name) ? storages[name] : undefined
  if (storage) return storage
  throw new UsageError(
    'unknown_storage',
    `there is no storage '${name}': there are ${Object.keys(storages).join(', ')}. Give it to new Attachments({ storage: { … } })`,
  )
}
