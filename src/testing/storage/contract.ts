import type { Storage } from '../../storage/storage'
import type { ContractCase, ProcessOptions } from '../case'
import { areas } from './areas'
import { breaks } from './breaks'
import { copies } from './copies'
import { deletes } from './deletes'
import { keeps } from './keeps'
import { keys } from './keys'
import { kills } from './kills'
import { lists } from './lists'
import { writesOnce } from './once'
import { pins } from './pins'

/**
 * What every storage must do. The cases are independent of each other, and take up to 20 seconds each with `module`.
 *
 * @param make gives an empty storage; called once for each case
 * @param options `module` exports, as default or as `makeStorage`, an async function that gives a storage over the place of
 *   the last one that `make` gave; how to find it, `make` may leave in `process.env`
 */
export function storageContract(make: () => Promise<Storage>, options: ProcessOptions = {}): ContractCase[] {
  const cases = [
    ...keeps,
    ...keys,
    ...deletes,
    ...breaks,
    ...lists,
    ...writesOnce,
    ...pins,
    ...copies,
    ...areas,
    ...(options.module === undefined ? [] : kills(options)),
  ]
  return cases.map(([name, check]) => ({
    name,
    run: async () => {
      const storage = await make()
      await storage.prepare?.()
      await check(storage)
    },
  }))
}
