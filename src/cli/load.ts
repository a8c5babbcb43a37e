import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { DataSource } from 'typeorm'
import type { Attachments } from '../attachments'
import { doesNotHelp, Ended, lineOf, mayHelp } from './ended'

/** What a module exports, and where it is. */
export interface Loaded {
  /** As the user wrote it. */
  readonly path: string
  readonly exports: ReadonlySet<unknown>
}

/** Loads a module of the user's: an ES module, with `await` at its top or not, or a CommonJS one. Throws `Ended`. */
export async function load(path: string): Promise<Loaded> {
  const file = resolve(path)
  if (!existsSync(file) || !statSync(file).isFile()) {
    throw new Ended(`there is no file ${file}: give the path of a JavaScript file, and build it first if it is made from TypeScript`, doesNotHelp)
  }
  try {
    const exported: Record<string, unknown> = await import(pathToFileURL(file).href)
    // what a CommonJS module exports is its default, and by name only what could be guessed from its text
    return { path, exports: new Set([...Object.values(exported), ...Object.values(Object(exported['default']))]) }
  } catch (error) {
    throw new Ended(`${path} could not be loaded: ${lineOf(error)}${placeOf(error)}${hintFor(file)}`, mayHelp)
  }
}

/** The one of its kind that a module exports, itself or as a promise; undefined if there is none. Throws `Ended` if there are several. */
export async function only<T>({ path, exports }: Loaded, kind: string, isOne: (value: unknown) => value is T): Promise<T | undefined> {
  let found = [...exports].filter(isOne)
  if (found.length === 0) {
    const awaited = await Promise.all(exports).catch((error) => {
      throw new Ended(`what ${path} exports could not be had: ${lineOf(error)}${placeOf(error)}`, mayHelp)
    })
    found = [...new Set(awaited)].filter(isOne)
  }
  if (found.length > 1) throw new Ended(`${path} exports ${found.length} ${kind}: let it export the one that this worker is for`, doesNotHelp)
  return found[0]
}

// not by instanceof: the user's module may have another copy of this package, or of TypeORM

export function isAttachments(value: unknown): value is Attachments {
  return hasMethods(value, ['attach', 'connect', 'work', 'close'])
}

export function isDataSource(value: unknown): value is DataSource {
  return hasMethods(value, ['initialize', 'destroy', 'query', 'getRepository'])
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  return typeof value === 'object' && value !== null && names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
}

/** Where an error was thrown, or which line could not be read, on a line of its own. */
function placeOf(error: unknown): string {
  const { stack } = Object(error) as { stack?: unknown }
  const [place] = /^(?:\/|file:|[A-Z]:).*:\d+$|^ +at (?!.*node:).*$/m.exec(String(stack)) ?? []
  return place ? `\n${place}` : ''
}

function hintFor(file: string): string {
  return /\.[cm]?ts$/.test(file) ? "\nIt is TypeScript: give the JavaScript that it becomes, or set NODE_OPTIONS='--import tsx'" : ''
}
