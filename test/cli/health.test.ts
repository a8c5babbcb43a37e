import 'reflect-metadata'
import { expect, it, vi } from 'vitest'
import { asking } from '../../src/cli/health'
import { database } from '../support/world'

it('asks the database once for all who want to know at the same time, and then again', async () => {
  const dataSource = await database([])
  const query = vi.spyOn(dataSource, 'query')
  const answers = asking(dataSource)
  expect(await Promise.all([answers(), answers(), answers()])).toEqual([true, true, true])
  expect(query).toHaveBeenCalledTimes(1)
  expect(await answers()).toBe(true)
  expect(query).toHaveBeenCalledTimes(2)
})
