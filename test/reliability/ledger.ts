import type { DataSource } from 'typeorm'
import { Person, type Property, properties } from './person'

/** What the rows must hold at the end, as those know who changed them: fingerprints; an empty text is no file. */
export class Ledger {
  readonly #files = new Map<string, Map<Property, Set<string>>>()

  /** From now on this is in the row, and nothing else. */
  set(name: string, property: Property, fingerprint: string): void {
    this.#of(name).set(property, new Set([fingerprint]))
  }

  /** Somebody else may write at the same time: any of these may win. */
  add(name: string, property: Property, fingerprint: string): void {
    const of = this.#of(name)
    of.set(property, new Set([...(of.get(property) ?? ['']), fingerprint]))
  }

  remove(name: string): void {
    this.#files.delete(name)
  }

  #of(name: string): Map<Property, Set<string>> {
    const known = this.#files.get(name) ?? new Map<Property, Set<string>>()
    this.#files.set(name, known)
    return known
  }

  /** Where the rows hold something else, or nobody tries any more. */
  async differences(dataSource: DataSource): Promise<string[]> {
    const people = await dataSource.getRepository(Person).find()
    const names = new Set(people.map(({ name }) => name))
    const missing = [...this.#files.keys()].filter((name) => !names.has(name)).map((name) => `${name} was saved, and has no row`)
    const wrong = people.flatMap((person) => {
      const expected = this.#files.get(person.name)
      if (!expected) return [`${person.name} was removed or never saved, and has a row`]
      return properties.flatMap((property) => {
        const { fingerprint, error } = person[property]
        const is = fingerprint ?? ''
        if (error) return [`${person.name}'s ${property} was given up: ${error.message}`]
        return (expected.get(property) ?? new Set([''])).has(is) ? [] : [`${person.name}'s ${property} holds another file than was saved: '${is}'`]
      })
    })
    return [...missing, ...wrong]
  }
}
