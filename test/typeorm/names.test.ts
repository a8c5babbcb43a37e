import 'reflect-metadata'
import { Column, type DataSource, DefaultNamingStrategy, Entity, EntitySchema, PrimaryGeneratedColumn, VersionColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { databases, postgres, servers } from '../support/databases'
import { database, filesIn, heldBackground, world } from '../support/world'
import { keysOf, Pet, stored, User } from './people'

/** Names as an old database may have them. */
class Shouting extends DefaultNamingStrategy {
  override tableName(className: string, given?: string): string {
    return `TBL ${given ?? className}`.toUpperCase()
  }

  override columnName(property: string, given: string, prefixes: string[]): string {
    return `C_${super.columnName(property, given, prefixes)}`.toUpperCase()
  }
}

@Entity('order')
class Order {
  @PrimaryGeneratedColumn({ name: 'select' })
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @Attachment({ accept: 'any', columns: { version: 'from', processing: 'is done' } })
  invoice!: Attached

  @VersionColumn()
  revision!: number
}

class Country {
  id!: number
  name!: string

  @Attachment({ accept: 'any' })
  flag!: Attached
}

const CountrySchema = new EntitySchema<Country>({
  name: 'Country',
  target: Country,
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: String } },
})

/** The whole life of one row's file. */
async function live(dataSource: DataSource, type = Order): Promise<void> {
  const background = heldBackground()
  const here = await world([], { dataSource, background })
  const rows = dataSource.getRepository(type)
  const row = new type()
  await here.attachments.attach(row, 'invoice', Buffer.from('one'))
  await rows.save(row)
  background.jobs.splice(0)
  expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(1)
  await background.run()
  await here.attachments.attach(row, 'invoice', Buffer.from('two two'))
  await rows.save(row)
  await background.run()
  const [saved] = await rows.findBy({ invoice: { processing: false } })
  expect(saved?.invoice).toMatchObject({ fileSize: 7, error: null })
  expect(stored(here)).toEqual(keysOf(saved?.invoice))
  await rows.remove(row)
  await background.run()
  expect(stored(here)).toEqual([])
  expect(await filesIn(here.staging)).toEqual([])
}

describe.each(databases)('names on %s', (on) => {
  it('that need to be quoted', () => database([Order], { on }).then(live))

  it('from a naming strategy', () => database([Order], { on, namingStrategy: new Shouting() }).then(live))

  it('with a prefix for all tables', () => database([Order], { on, entityPrefix: 'app_' }).then(live))

  it('of an entity schema, which has no attachments, beside an entity that has some', async () => {
    const here = await world([Order, CountrySchema], { on })
    const country = Object.assign(new Country(), { name: 'Austria' })
    const attach = here.attachments.attach(country, 'flag', Buffer.from('red white red'))
    await expect(attach).rejects.toMatchObject({ code: 'unknown_attachment', message: expect.stringContaining('Order.invoice') })
    await here.dataSource.manager.save(country)
    await here.dataSource.manager.remove(country)
    const order = new Order()
    await here.attachments.attach(order, 'invoice', Buffer.from('one'))
    await here.dataSource.manager.save(order)
    await here.attachments.idle()
    expect(stored(here)).toHaveLength(1)
  })

  it('are the same at the next synchronisation: nothing is left to change', async () => {
    const dataSource = await database([User, Pet, Order], { on })
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log()
    expect(upQueries.map(({ query }) => query)).toEqual([])
  })
})

describe.each(servers)('a place for tables on %s', (on) => {
  it('beside the usual one: a schema of PostgreSQL, another database of MariaDB', async () => {
    const place = on === postgres ? { schema: 'other place' } : { database: ((await on.create()) as { database: string }).database }
    @Entity('order', place)
    class Elsewhere extends Order {}
    const dataSource = await database([Elsewhere], { on, synchronize: false })
    if (on === postgres) await dataSource.query('CREATE SCHEMA "other place"')
    await dataSource.synchronize()
    await live(dataSource, Elsewhere)
  })
})
