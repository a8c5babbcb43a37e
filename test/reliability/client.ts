import type { EntityManager } from 'typeorm'
import { type Attachments, UsageError } from '../../src'
import { freshBytes, sha256 } from './bytes'
import type { Ledger } from './ledger'
import { Person, type Property, person, properties } from './person'
import { oneOf, type Random } from './random'

/** Rows that all clients change. */
export const shared = ['shared-1', 'shared-2', 'shared-3'] as const

/** How many rows a client has at most. */
const mostRows = 8

/** One of many that save, replace and remove: rows of its own, of which it knows what they hold, and rows of all. */
export class Client {
  readonly #own: string[] = []
  #names = 0

  constructor(
    readonly name: string,
    readonly random: Random,
    readonly attachments: Attachments,
    readonly manager: EntityManager,
    readonly ledger: Ledger,
  ) {}

  /** Does something. What it was. */
  async act(): Promise<string> {
    const acts = {
      save: 3,
      replace: 5,
      'replace shared': 3,
      'change twice': 1,
      overtake: 3,
      detach: 2,
      remove: 2,
      'roll back': 3,
      reprocess: 2,
    } as const
    const names = Object.entries(acts).flatMap(([name, weight]) => Array<keyof typeof acts>(weight).fill(name as keyof typeof acts))
    const chosen = this.#own.length === 0 ? 'save' : oneOf(this.random, names)
    const act = chosen === 'save' && this.#own.length >= mostRows ? 'remove' : chosen
    if (act === 'save') await this.#save()
    else if (act === 'replace') await this.#replace(oneOf(this.random, this.#own))
    else if (act === 'replace shared') await this.#replaceShared(oneOf(this.random, shared))
    else if (act === 'change twice') await this.#changeTwice(oneOf(this.random, this.#own))
    else if (act === 'overtake') await this.#overtake(oneOf(this.random, this.#own))
    else if (act === 'detach') await this.#detach(oneOf(this.random, this.#own))
    else if (act === 'remove') await this.#remove()
    else if (act === 'roll back') await this.#rollBack(oneOf(this.random, this.#own))
    else await this.#reprocess(oneOf(this.random, [...this.#own, ...shared]))
    return act
  }

  async #give(owner: Person, property = oneOf(this.random, properties)): Promise<[Property, string]> {
    const bytes = await freshBytes(this.random, property === 'paper' ? 'text' : 'picture')
    await this.attachments.attach(owner, property, bytes)
    return [property, sha256(bytes)]
  }

  #find(name: string, manager = this.manager): Promise<Person> {
    return manager.findOneByOrFail(Person, { name })
  }

  async #save(): Promise<void> {
    const owner = person(`${this.name}-${++this.#names}`)
    const files = [await this.#give(owner, 'avatar'), await this.#give(owner)]
    await this.manager.save(owner)
    this.#own.push(owner.name)
    for (const [property, fingerprint] of files) this.ledger.set(owner.name, property, fingerprint)
  }

  async #replace(name: string, which?: Property): Promise<void> {
    const owner = await this.#find(name)
    const [property, fingerprint] = await this.#give(owner, which)
    await this.manager.save(owner)
    this.ledger.set(name, property, fingerprint)
  }

  async #replaceShared(name: string): Promise<void> {
    const owner = await this.#find(name)
    const [property, fingerprint] = await this.#give(owner)
    this.ledger.add(name, property, fingerprint)
    await this.manager.save(owner)
  }

  async #changeTwice(name: string): Promise<void> {
    const owner = await this.#find(name)
    await this.manager.transaction(async (manager) => {
      await this.#give(owner, 'avatar')
      await manager.save(owner)
      const [property, fingerprint] = await this.#give(owner, 'avatar')
      await manager.save(owner)
      this.ledger.set(name, property, fingerprint)
    })
  }

  /** Replaces or detaches a file while its job is at work. */
  async #overtake(name: string): Promise<void> {
    const property = oneOf(this.random, ['avatar', 'cover', 'paper'] as const)
    const owner = await this.#find(name)
    const [, fingerprint] = await this.#give(owner, property)
    await this.manager.save(owner)
    this.ledger.set(name, property, fingerprint)
    for (let now = owner; now[property].processing && !now[property].meta?.begun; ) {
      await new Promise((resolve) => setTimeout(resolve, 3))
      now = await this.#find(name)
    }
    await (this.random() < 0.7 ? this.#replace(name, property) : this.#detach(name, property))
  }

  async #detach(name: string, property = oneOf(this.random, properties)): Promise<void> {
    const owner = await this.#find(name)
    await this.attachments.detach(owner, property)
    await this.manager.save(owner)
    this.ledger.set(name, property, '')
  }

  async #remove(): Promise<void> {
    const names = this.#own.splice(0, 1 + Math.floor(this.random() * 3))
    const owners = await Promise.all(names.map((name) => this.#find(name)))
    await this.manager.remove(owners)
    for (const name of names) this.ledger.remove(name)
  }

  /** Changes, and takes it back; half of the times what was to be saved is saved after all. */
  async #rollBack(name: string): Promise<void> {
    const owner = await this.#find(name)
    const [property, fingerprint] = await this.#give(owner)
    const undone = this.manager.transaction(async (manager) => {
      await manager.save(owner)
      if (this.random() < 0.5) await manager.remove(await this.#find(name, manager))
      await manager.save(person(`${name}-never`))
      throw new Error('changed my mind')
    })
    await undone.catch((error) => {
      if (error.message !== 'changed my mind') throw error
    })
    if (this.random() < 0.5) return
    await this.manager.save(owner)
    this.ledger.set(name, property, fingerprint)
  }

  async #reprocess(name: string): Promise<void> {
    const owner = await this.#find(name)
    await this.attachments.reprocess(owner, oneOf(this.random, ['avatar', 'badge', 'cover'] as const)).catch((error) => {
      // a job under way, or, on a bad line, an original that failed for good before it was stored
      if (!(error instanceof UsageError && ['still_processing', 'not_stored'].includes(error.code))) throw error
    })
  }
}
