import type { Dirent } from 'node:fs'
import { opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing } from './folders'
import type { StoredObject } from './storage'

/**
 * Every file below a folder, a few names at a time, however many there are. What vanishes meanwhile is no error, and
 * neither is a folder that was never there. Links to folders are not followed: they may lead round in circles.
 *
 * @param above put before every key
 * @param beginning of the names to be looked at in this folder
 */
export async function* walk(folder: string, above = '', beginning = ''): AsyncGenerator<StoredObject, void> {
  for await (const entry of entriesOf(folder)) {
    if (!entry.name.startsWith(beginning)) continue
    const path = join(folder, entry.name)
    const key = above + entry.name
    if (entry.isDirectory()) {
      yield* walk(path, `${key}/`)
      continue
    }
    const found = await stat(path).catch((error) => {
      if (!isMissing(error)) throw error
    })
    if (found?.isFile()) yield { key, size: found.size, modified: found.mtime }
  }
}

async function* entriesOf(folder: string): AsyncGenerator<Dirent, void> {
  try {
    yield* await opendir(folder)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
