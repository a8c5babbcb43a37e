import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, readdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { rounds, spread } from './benchmarks/rounds'
import { folder } from './support/world'

/** What the throw-away servers need of a system. */
const programs = ['cat', 'id', 'rm', 'rmdir', 'sleep']

/** A folder of programs in which no peer is. */
async function bare(): Promise<string> {
  const path = await folder()
  // servers run as somebody else
  await chmod(path, 0o755)
  for (const name of programs) {
    const home = ['/usr/bin', '/bin'].map((place) => join(place, name)).find(existsSync)
    if (home) await symlink(home, join(path, name))
  }
  return path
}

/** Runs a benchmark once with little to do, on a machine that has no peer installed. What it kept. */
async function quickly(part: string): Promise<{ files: string[]; kept: { leftOut?: string[]; figures: unknown }; printed: string }> {
  const out = await folder()
  const program = join(import.meta.dirname, 'benchmarks', `${part}.ts`)
  const env = { ...process.env, PATH: await bare(), AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' }
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program, '--quick', '--out', out], { env })
  return { files: (await readdir(out)).sort(), kept: JSON.parse(await readFile(join(out, `${part}.json`), 'utf8')), printed: stdout }
}

it('a benchmark prints a table, keeps its figures and a chart, and names what it left out', { timeout: 120_000 }, async () => {
  const { files, kept, printed } = await quickly('styles')
  expect(files).toEqual(['styles.json', 'styles.svg'])
  expect(printed).toMatch(/\| JPEG, 12 megapixels, to jpeg \| [\d.]+ \(× 1\)/)
  for (const peer of ['vipsthumbnail', 'ImageMagick']) expect(kept.leftOut).toContainEqual(expect.stringContaining(peer))
  for (const contender of ['the floor', 'ours: processor', 'ours: whole job'])
    expect(kept.figures).toContainEqual(expect.objectContaining({ contender }))
})

it('rounds take turns, count one round less than they run, and compare with the first contender', async () => {
  const turns: string[] = []
  const timed = await rounds({ first: () => turns.push('first'), second: () => turns.push('second') }, 2)
  expect(turns.join()).toBe('second,first,first,second,second,first')
  expect(Object.keys(timed)).toEqual(['first', 'second'])
  expect(timed.first.ratio).toEqual({ median: 1, min: 1, max: 1 })
})

it('a spread is told by its middle and its ends', () => {
  expect(spread([3, 1, 200])).toEqual({ median: 3, min: 1, max: 200 })
})
