import 'reflect-metadata'
import { Column, Entity, PrimaryGeneratedColumn, Tree, TreeChildren, TreeParent } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { databases } from '../support/databases'
import { world } from '../support/world'
import { keysOf, state, stored } from './people'

describe.each(databases)('trees on %s', (on) => {
  it.each(['materialized-path', 'nested-set', 'closure-table'] as const)('%s: parent and child keep their files', async (kind) => {
    @Entity()
    @Tree(kind)
    class Branch {
      @PrimaryGeneratedColumn()
      id!: number

      @Column({ type: String, default: '' })
      name!: string

      @TreeParent()
      parent!: Branch

      @TreeChildren({ cascade: true })
      children!: Branch[]

      @Attachment({ accept: 'any' })
      leaf!: Attached
    }
    const here = await world([Branch], { on })
    const branches = here.dataSource.getTreeRepository(Branch)
    const [trunk, twig] = [new Branch(), new Branch()]
    for (const branch of [trunk, twig]) await here.attachments.attach(branch, 'leaf', Buffer.from('one'))
    await branches.save(trunk)
    await branches.save(Object.assign(twig, { parent: trunk }))
    await here.attachments.idle()
    await here.attachments.attach(twig, 'leaf', Buffer.from('two two'))
    await branches.save(Object.assign(twig, { name: 'twig' }))
    await here.attachments.idle()
    const [tree] = await branches.findTrees()
    const leaves = [tree?.leaf, tree?.children[0]?.leaf]
    expect(leaves.map((leaf) => [state(leaf), leaf?.fileSize])).toEqual([
      ['stored', 3],
      ['stored', 7],
    ])
    expect(stored(here)).toEqual(keysOf(...leaves))
  })
})
