import 'reflect-metadata'
import { ChildEntity, Column, Entity, PrimaryGeneratedColumn, TableInheritance } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { databases } from '../support/databases'
import { jpeg } from '../support/pictures'
import { filesIn, heldBackground, world } from '../support/world'
import { keysOf, state, stored } from './people'

@Entity()
@TableInheritance({ column: { type: 'varchar', name: 'kind' } })
class Content {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { small: '10x10#' }, accept: ['image/*'] })
  picture!: Attached<'small'>
}

@ChildEntity()
class Story extends Content {
  @Attachment({ accept: 'any' })
  text!: Attached
}

@ChildEntity('gallery of pictures')
class Gallery extends Content {
  @Column({ type: String, default: '' })
  name!: string
}

abstract class WithLogo {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ styles: { small: '10x10#' }, accept: ['image/*'] })
  logo!: Attached<'small'>
}

@Entity()
class Company extends WithLogo {}

@Entity()
class Club extends WithLogo {
  @Attachment({ styles: { small: '20x20#', wide: '30x10#' }, accept: ['image/*'], columns: { version: 'own_version' } })
  declare logo: Attached<'small' | 'wide'> & Attached<'small'>
}

const photo = jpeg(60, 40)

describe.each(databases)('single-table inheritance on %s', (on) => {
  it('each class has the attachments it declares and inherits, also for requeueLost()', async () => {
    const background = heldBackground()
    const here = await world([Content, Story, Gallery], { on, background })
    const [story, gallery] = [new Story(), new Gallery()]
    await here.attachments.attach(story, 'picture', await photo)
    await here.attachments.attach(story, 'text', Buffer.from('once upon a time'), { fileName: 'story.txt' })
    await here.attachments.attach(gallery, 'picture', await photo)
    await here.dataSource.manager.save([story, gallery])
    background.jobs.splice(0)
    expect(await here.attachments.requeueLost({ olderThan: -2000 })).toBe(3)
    await background.run()
    const contents = await here.dataSource.getRepository(Content).find({ order: { id: 'ASC' } })
    expect(contents.map(({ picture }) => [state(picture), picture.path('small')])).toEqual([
      ['stored', expect.stringMatching(/^stories\/pictures\/000\/000\/001\//)],
      ['stored', expect.stringMatching(/^galleries\/pictures\/000\/000\/002\//)],
    ])
    const { text } = contents[0] as Story
    expect(text).toMatchObject({ processing: false, contentType: 'text/plain' })
    expect(stored(here)).toEqual(keysOf(...contents.map(({ picture }) => picture), text))
  })

  it('a child that was loaded through its parent is replaced, detached and removed', async () => {
    const here = await world([Content, Story, Gallery], { on })
    const contents = here.dataSource.getRepository(Content)
    const story = new Story()
    await here.attachments.attach(story, 'picture', await photo)
    await here.attachments.attach(story, 'text', Buffer.from('text'))
    await contents.save(story)
    const loaded = (await contents.findOneByOrFail({ id: story.id })) as Story
    expect(loaded).toBeInstanceOf(Story)
    await here.attachments.attach(loaded, 'picture', await jpeg(70, 70))
    await here.attachments.detach(loaded, 'text')
    await contents.save(loaded)
    await here.attachments.idle()
    const now = (await contents.findOneByOrFail({ id: story.id })) as Story
    expect(now.picture).toMatchObject({ processing: false, width: 70 })
    expect(stored(here)).toEqual(keysOf(now.picture))
    await contents.remove(now)
    await here.attachments.idle()
    expect(stored(here)).toEqual([])
    expect(await filesIn(here.staging)).toEqual([])
  })
})

describe.each(databases)('an abstract class on %s', (on) => {
  it('gives its attachment to each entity, with a table and keys of its own, and one of them may declare it anew', async () => {
    const here = await world([Company, Club], { on })
    const [company, club] = [new Company(), new Club()]
    await here.attachments.attach(company, 'logo', await photo)
    await here.attachments.attach(club, 'logo', await photo)
    await here.dataSource.manager.save([company, club])
    await here.attachments.idle()
    const one = await here.dataSource.getRepository(Company).findOneByOrFail({})
    const two = await here.dataSource.getRepository(Club).findOneByOrFail({})
    expect(Object.keys(one.logo.meta?.styles ?? {})).toEqual(['original', 'small'])
    expect(Object.keys(two.logo.meta?.styles ?? {})).toEqual(['original', 'small', 'wide'])
    expect(one.logo.path()).toMatch(/^companies\//)
    expect(two.logo.path()).toMatch(/^clubs\//)
    expect(stored(here)).toEqual(keysOf(one.logo, two.logo))
    await here.dataSource.manager.remove(one)
    await here.attachments.idle()
    expect(stored(here)).toEqual(keysOf(two.logo))
  })
})
