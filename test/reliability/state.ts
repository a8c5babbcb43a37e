import type { DataSource } from 'typeorm'
import { fingerprintOf, labelOf } from './bytes'
import { Person, properties } from './person'

const labels = ['red', 'blue', 'green', 'pink', 'grey', 'gold', 'big', 'bigger']

/** What the rows hold, as JSON of a `State`. */
export async function stateOf(dataSource: DataSource): Promise<string> {
  const known = new Map<string | null, string>()
  for (const label of labels) known.set(await fingerprintOf(label), label)
  const people = await dataSource.getRepository(Person).find({ order: { name: 'ASC' } })
  const state = people.map((person) => {
    const held = properties.flatMap((property) => {
      const { present, fileName, fingerprint, error } = person[property]
      return present
        ? [[property, `${fingerprint === null ? labelOf(fileName) : (known.get(fingerprint) ?? fingerprint)}${error ? '!' : ''}`] as const]
        : []
    })
    return [person.name, Object.fromEntries(held)] as const
  })
  return JSON.stringify(Object.fromEntries(state))
}
