import type { AttachmentRecord } from '../../src/attachment/record'
import type { BackgroundAdapter } from '../../src/background/adapter'
import type { Job } from '../../src/background/job'
import type { Place } from '../../src/lifecycle/plan'
import type { Outcome } from '../../src/lifecycle/save'
import { sendingOf } from '../../src/testing/background/sample'
import type { Transaction } from './database'
import type { Host, World } from './world'

/** How a transaction ends. `silent`: COMMIT succeeds, and has rolled back. `refused`: COMMIT does not. `savepoint`: what was done is undone, and then committed. */
export type End = 'commit' | 'rollback' | 'silent' | 'refused' | 'savepoint' | 'twice'

/** What is done to a row in a transaction. */
type Deed = { readonly row: number; readonly version: string } | { readonly row: number; readonly remove: true }

/** What the program of a user does on one machine, written as it is around the real library. */
export class Actions {
  constructor(
    readonly world: World,
    readonly host: Host,
  ) {}

  #place(row: number): Place {
    const { definition, database } = this.world
    return { definition, storage: 'default', ref: database.ref(row) }
  }

  /** Attaches a file and saves it. */
  async save(row: number, end: End, flaw: string): Promise<void> {
    const { world, host } = this
    const { lifecycle, definition } = world
    const text = `file ${lifecycle.newVersion().slice(0, 8)}${flaw}`
    const { machine, intents, attached } = host
    const file = await world.scheduler.meanwhile((work) =>
      lifecycle.receive(
        definition,
        'User',
        {},
        Buffer.from(text),
        { fileName: 'f.txt', contentType: 'text/plain' },
        world.staging.portFor(machine, work),
      ),
    )
    if (!machine.alive) return
    intents.add({ entity: 'User', attachment: 'avatar', version: file.version, file })
    attached.push({ row, version: file.version, text })
    await this.#transaction([{ row, version: file.version }], end)
  }

  /** Saves an entity once more that a file was attached to: after a rollback, or because it is stale. */
  async saveAgain(which: number, end: End): Promise<void> {
    const { attached } = this.host
    const earlier = attached[which % Math.max(1, attached.length)]
    if (earlier) await this.#transaction([earlier], end)
  }

  async detach(row: number, end: End): Promise<void> {
    const { world, host } = this
    const version = world.lifecycle.newVersion()
    host.intents.add({ entity: 'User', attachment: 'avatar', version, file: null })
    await this.#transaction([{ row, version }], end)
  }

  async remove(row: number, end: End): Promise<void> {
    await this.#transaction([{ row, remove: true }], end)
  }

  /** Saves a file that was attached, and removes the row, all in one. */
  async saveAndRemove(which: number, end: End): Promise<void> {
    const { attached } = this.host
    const earlier = attached[which % Math.max(1, attached.length)]
    if (earlier) await this.#transaction([earlier, { row: earlier.row, remove: true }], end)
  }

  async retry(row: number): Promise<void> {
    const ports = this.world.portsFor(this.host)
    await this.world.lifecycle.retry(this.#place(row).ref, ports, (job) => this.#send(job))
  }

  async reprocess(row: number, style: 'a' | 'b' | 'both'): Promise<void> {
    const { lifecycle, definition } = this.world
    const wanted = definition.stylesFor({}).filter(({ name }) => style === 'both' || name === style)
    const ports = this.world.portsFor(this.host)
    await lifecycle.reprocess(this.#place(row), wanted, ports, (job) => this.#send(job))
  }

  async requeueLost(olderThan = 5 * 60_000): Promise<number> {
    const { lifecycle, names } = this.world
    return lifecycle.requeueLost(names, olderThan, this.world.portsFor(this.host), (job) => this.#send(job))
  }

  async sweep(): Promise<void> {
    const { lifecycle, names } = this.world
    const { intents } = this.host
    await lifecycle.sweepStaging(names, 24 * 60 * 60_000, this.world.portsFor(this.host), (version) => intents.get(version) !== undefined)
  }

  async #send(job: Job): Promise<void> {
    const { world, host } = this
    const { machine } = host
    const adapter: BackgroundAdapter = {
      enqueue: (sent) =>
        world.scheduler.ask(machine, `enqueue ${sent.kind}`, () => world.queue(host, { job: structuredClone(sent), attempt: 1, due: world.time })),
    }
    await world.lifecycle.send(job, adapter, sendingOf(job))
  }

  async #transaction(deeds: readonly Deed[], end: End): Promise<void> {
    const { world, host } = this
    const { database, scheduler, lifecycle } = world
    const { machine, intents, transactions, committed, attached } = host
    const transaction = database.begin(machine)
    transactions.add(transaction)
    const done: Array<{ deed: Deed; outcome: Outcome }> = []
    try {
      for (const deed of deeds) {
        for (let times = end === 'twice' ? 2 : 1; times > 0; times--) {
          const outcome = await this.#carryOut(deed, transaction)
          if (outcome) done.push({ deed, outcome })
        }
      }
      if (end === 'rollback') {
        await scheduler.ask(machine, 'rollback', () => database.end(transaction))
        return
      }
      if (end === 'savepoint') {
        transaction.written.clear()
        done.length = 0
      }
      const versions = done.flatMap(({ deed }) => ('version' in deed ? [deed.version] : []))
      for (const version of versions) intents.committing(version)
      const lefts = done.flatMap(({ outcome }) => outcome.left ?? [])
      const isIntent = (version: string) => intents.get(version) !== undefined
      const deletes = lefts.length > 0 ? await lifecycle.prepareDeletes(lefts, isIntent, world.portsFor(host)) : []
      if (end === 'refused') {
        await scheduler.ask(machine, 'commit, which is refused', () => database.end(transaction))
        for (const version of versions) intents.reopen(version)
        await lifecycle.withdrawDeletes(deletes, world.portsFor(host).staging)
        return
      }
      transaction.committing = true
      const commit = () => (end === 'silent' ? database.end(transaction) : this.#commit(transaction, done, { committed, attached }))
      await scheduler.ask(machine, 'commit', commit, { dropped: () => database.end(transaction) })
      for (const version of versions) {
        intents.consume(version)
        committed.add(version)
      }
      const jobs = new Map(done.flatMap(({ outcome: { job } }) => (job ? [[job.version, job] as const] : [])))
      await Promise.all([...jobs.values(), ...deletes].map((job) => this.#send(job)))
    } catch (error) {
      database.end(transaction)
      throw error
    } finally {
      transactions.delete(transaction)
    }
  }

  async #carryOut(deed: Deed, transaction: Transaction): Promise<Outcome | null> {
    const { world, host } = this
    const { database, scheduler, lifecycle } = world
    const { row } = deed
    const { fill, ...locked } = database.lockedRow(transaction, row)
    if ('remove' in deed) {
      const outcome = await lifecycle.beforeRemoval(this.#place(row), locked)
      await scheduler.ask(host.machine, `remove row ${row}`, () => void transaction.written.set(row, undefined))
      return outcome ?? { job: null, left: null, replaced: null }
    }
    const intent = host.intents.get(deed.version)
    // a stale entity: TypeORM is shown no change
    if (!intent) return null
    const known = await locked.read()
    if (known === undefined) await scheduler.ask(host.machine, `insert row ${row}`, () => void transaction.written.set(row, null))
    // of an upsert nobody knows whether it inserted
    const inserted = known === undefined || known === null ? { ...locked, fill } : locked
    return lifecycle.carryOut(intent, this.#place(row), inserted, { intents: host.intents, now: () => world.now() })
  }

  /** The moment that counts: from now on everybody relies on what was saved. */
  #commit(transaction: Transaction, done: ReadonlyArray<{ deed: Deed }>, { committed, attached }: Pick<Host, 'committed' | 'attached'>): void {
    const { database, truth } = this.world
    for (const { deed } of done) {
      const { row } = deed
      const before = database.rows.get(row)
      if ('remove' in deed) {
        this.#keep(before, 'always')
        truth.delete(row)
        this.world.shown.delete(row)
      } else if (!committed.has(deed.version)) {
        const text = attached.find(({ version }) => version === deed.version)?.text ?? null
        if (truth.get(row) !== text) this.#keep(before, 'replaced')
        truth.set(row, text)
        if (text === null) this.world.shown.delete(row)
        else if (before?.version !== deed.version) this.#show(row, before)
      }
    }
    database.commit(transaction)
    for (const record of database.rows.values()) if (record) this.world.saved.add(record.version)
  }

  /** What was replaced goes on being shown; of one that was not ready itself, what was shown meanwhile. */
  #show(row: number, before: AttachmentRecord | null | undefined): void {
    const { shown } = this.world
    const styles = Object.values(before?.meta.styles ?? {})
    const made = styles.filter(({ written }) => written).map(({ key }) => key)
    const showsItself = made.length === styles.length && !before?.meta.shown
    if (showsItself || !shown.get(row)?.length) shown.set(row, made)
  }

  #keep(before: AttachmentRecord | null | undefined, when: 'always' | 'replaced'): void {
    const { keeps } = this.world.setting
    if (!before || keeps === 'never') return
    // what was not finished may go; of a removed row all goes, unless there is a row of that id again when they are to go: then nobody can tell
    const surely = !before.processing && (keeps === 'always' || when === 'replaced')
    for (const { keys } of before.meta.previous ?? []) for (const key of keys) this.world.kept.set(key, false)
    for (const { key, written } of [...Object.values(before.meta.styles), ...Object.values(before.meta.next ?? {})])
      this.world.kept.set(key, written && surely)
  }
}
