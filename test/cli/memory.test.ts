import { expect, it } from 'vitest'
import { memoryAdvice, onGlibc } from '../../src/cli/memory'

const small = 512 * 2 ** 20

it('glibc in a small container is to be told to keep less', () => {
  expect(memoryAdvice(small, true, {})).toMatch(/512 MiB.*MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072$/)
  expect(memoryAdvice(small, true, { MALLOC_ARENA_MAX: '1' })).toMatch(/start it with MALLOC_MMAP_THRESHOLD_=131072$/)
})

it.each([
  ['where it was told', small, true, { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }],
  ['where there is much memory', 8 * 2 ** 30, true, {}],
  ['where there is no limit', undefined, true, {}],
  ['where there is no glibc', small, false, {}],
])('nothing is said %s', (_, limit, glibc, env) => {
  expect(memoryAdvice(limit, glibc, env)).toBeUndefined()
})

it.runIf(process.platform === 'linux')('it is known whether there is glibc', () => {
  expect(typeof onGlibc()).toBe('boolean')
})
