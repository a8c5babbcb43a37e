import { DeclarationError, messageOf, UsageError } from '../errors'
import { chain } from '../processor/chain'
import { imageProcessor } from '../processor/image'
import type { Processor } from '../processor/processor'
import { resolveStyle, type Style } from '../style/style'
import { underscore } from '../template/inflection'
import { compileTemplate, type Template } from '../template/template'
import { builtInTokens, hashToken, safe, type TemplateContext, type Tokens } from '../template/tokens'
import {
  type AttachmentOptions,
  type BackgroundOptions,
  type ColumnName,
  columnNames,
  defaults,
  type Fallback,
  type FallbackFile,
  optionNames,
} from './options'
import { parseSize } from './size'

/** A fallback URL, resolved: asked for with a style and what is known of the file. */
export type ResolvedFallback = (style: string, file: FallbackFile, context: TemplateContext) => string | null

/** What the decorator was told, checked and resolved once. Frozen; nothing downstream has defaults of its own. */
export interface Definition {
  /** The class that declares it. */
  readonly entity: string
  readonly property: string
  /** The declared styles' names; null where a function of the entity declares them. */
  readonly styleNames: readonly string[] | null
  /** The styles of a file of this entity; `original` is not among them. */
  stylesFor(entity: object): readonly Style[]
  /** Whether a style is made while attaching rather than by the job. */
  madeAtOnce(style: string): boolean
  /** Whether the job waits for a worker; otherwise it runs right after the commit. */
  readonly inBackground: boolean
  /** How that job is carried. */
  readonly carried: { readonly queue: string; readonly priority: number; readonly delay: number }
  /** When files stay in the storage that nothing refers to any more. */
  readonly keepsFiles: 'never' | 'replaced' | 'always'
  readonly accept: readonly string[] | 'any'
  /** Bytes; Infinity without limit. */
  readonly maxSize: number
  readonly path: Template<TemplateContext>
  /** Whether keys or URLs name the fingerprint, so that no file can be taken whose bytes nobody has read. */
  readonly namesFingerprint: boolean
  readonly url: Template<TemplateContext> | null
  readonly defaultUrl: ResolvedFallback
  readonly processingUrl: ResolvedFallback
  /** Whether a replaced file is shown until its successor is ready. */
  readonly showsPrevious: boolean
  /** The storage's name; undefined for the first. */
  readonly storage: string | undefined
  readonly processor: Processor
  readonly columns: Readonly<Record<ColumnName, string>>
}

/** Checks a declaration and resolves it. Throws a `DeclarationError` naming entity, property, value and cure. */
export function define(entity: string, property: string, options: AttachmentOptions<string>): Definition {
  const place = `${entity}.${property}`
  const fail = (code: string, what: string): never => {
    throw new DeclarationError(code, `@Attachment on ${place}: ${what}`)
  }
  const checked = <T>(code: string, what: string, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      return fail(code, `${what} ${messageOf(error)}`)
    }
  }

  if (options === null || typeof options !== 'object') fail('options_missing', "give options, at least { accept: ['image/*'] }")
  const stranger = Object.keys(options).find((name) => !(optionNames as readonly string[]).includes(name))
  if (stranger) fail('unknown_option', `there is no option '${stranger}': there are ${optionNames.join(', ')}`)
  const accept = checkAccept(options.accept, fail)
  const maxSize = checked('bad_max_size', 'maxSize', () => parseSize(options.maxSize))
  const columns = columnsOf(property, options.columns, fail)

  const resolveStyles = (map: unknown): readonly Style[] => {
    if (map === null || typeof map !== 'object' || Array.isArray(map)) fail('bad_style', "styles must be an object such as { thumb: '100x100#' }")
    const entries = Object.entries(map as Record<string, never>)
    if (entries.some(([name]) => name === 'original'))
      fail('bad_style', "a style cannot be called 'original': that is the file as it came; choose another name")
    return Object.freeze(entries.map(([name, style]) => checked('bad_style', `style '${name}'`, () => resolveStyle(name, style))))
  }
  const { styles = {} } = options
  const fixed = typeof styles === 'function' ? undefined : resolveStyles(styles)
  const stylesFor = (owner: object) => fixed ?? resolveStyles((styles as (entity: object) => unknown)(owner))

  const compile = (option: string, template: string, tokens: Tokens) =>
    checked('bad_template', `${option} '${template}'`, () => compileTemplate(template, tokens))
  const plain: Tokens = { ...builtInTokens, ...own(options.tokens as Tokens | undefined) }
  const hashData = compile('hashData', options.hashData ?? defaults.hashData, plain)
  const { secret } = options
  const tokens: Tokens = secret ? { ...plain, hash: hashToken(secret, hashData) } : plain
  for (const option of ['path', 'url'] as const) {
    if (!secret && options[option]?.includes(':hash'))
      fail('secret_missing', `${option} '${options[option]}' uses :hash, which needs a secret: add secret: process.env.…`)
  }
  const path = compile('path', options.path ?? defaults.path, tokens)
  const url = options.url === undefined ? null : compile('url', options.url, { ...tokens, path: (file) => file.key })
  const names = ({ tokens }: Template<TemplateContext>, token: string) =>
    tokens.includes(token) || (tokens.includes('hash') && hashData.tokens.includes(token))
  const told = (token: string) => names(path, token)
  if ((typeof styles === 'function' || fixed?.length) && !told('style')) {
    fail('bad_template', `path '${path.source}' gives every style the same key: put :style into it`)
  }

  const fallback = (option: 'defaultUrl' | 'processingUrl'): ResolvedFallback => {
    const given = options[option] as Fallback<string> | undefined
    if (given === undefined) return () => null
    if (typeof given === 'function') return (style, file) => given(style, file)
    const template = compile(option, given, tokens)
    const owner = template.tokens.find((token) => ['id', 'id_partition', 'hash'].includes(token))
    if (owner) fail('bad_template', `${option} '${given}' uses :${owner}, which is not known where no file is: leave it out`)
    return (_style, _file, context) => template.render(context, encodeURIComponent)
  }

  const later = options.processInBackground ?? defaults.processInBackground
  const { only: waiting, ...carried } = backgroundOptions(later, fail)
  const unknown = fixed && waiting?.find((name) => !fixed.some((style) => style.name === name))
  if (unknown) fail('unknown_style', `processInBackground names the style '${unknown}', which is not declared`)

  const whileProcessing = options.whileProcessing ?? defaults.whileProcessing
  if (!['placeholder', 'previous'].includes(whileProcessing)) {
    fail('bad_option', `whileProcessing must be 'placeholder' or 'previous', not ${JSON.stringify(whileProcessing)}`)
  }

  for (const option of ['keepOldFiles', 'preserveFiles'] as const) {
    if (!['boolean', 'undefined'].includes(typeof options[option])) fail('bad_option', `${option} must be true or false`)
  }

  return Object.freeze({
    entity,
    property,
    styleNames: fixed?.map(({ name }) => name) ?? null,
    stylesFor,
    madeAtOnce: (style: string) => waiting !== undefined && !waiting.includes(style),
    inBackground: later !== false,
    carried: { queue: 'default', priority: 0, delay: 0, ...carried },
    keepsFiles: options.preserveFiles ? 'always' : options.keepOldFiles ? 'replaced' : 'never',
    accept,
    maxSize,
    path,
    namesFingerprint: told('fingerprint') || (url !== null && names(url, 'fingerprint')),
    url,
    defaultUrl: fallback('defaultUrl'),
    processingUrl: fallback('processingUrl'),
    showsPrevious: whileProcessing === 'previous',
    storage: options.storage,
    processor: chain(options.processors ?? [imageProcessor()]),
    columns,
  })
}

/** Throws a `UsageError` for a style that cannot exist. Where styles come from a function, any might. */
export function checkStyleName(definition: Definition | undefined, style: string): void {
  const names = definition?.styleNames
  if (!names || style === 'original' || names.includes(style)) return
  const known = ['original', ...names].join(', ')
  throw new UsageError('unknown_style', `${definition.entity}.${definition.property} has no style '${style}': there are ${known}`)
}

type Fail = (code: string, what: string) => never

/** What BullMQ takes at most, and other engines as well. */
const lastPriority = 2 ** 21

/** What lies further ahead is taken for the work of a wrong clock: see `requeueLost()`. */
const longestDelay = 24 * 60 * 60_000

function backgroundOptions(given: boolean | BackgroundOptions<string>, fail: Fail): BackgroundOptions<string> {
  if (typeof given === 'boolean') return {}
  const refuse = (what: string) => fail('bad_option', `processInBackground ${what}`)
  if (given === null || typeof given !== 'object') refuse("must be true, false or an object such as { only: ['large'], queue: 'slow' }")
  const { only, queue, priority = 0, delay = 0, ...others } = given
  const [stranger] = Object.keys(others)
  if (stranger) refuse(`has no option '${stranger}': there are only, queue, priority, delay`)
  if (only !== undefined && !Array.isArray(only)) refuse("{ only } must be a list of styles, such as ['large']")
  if (queue !== undefined && !/^[\w-]{1,60}$/.test(String(queue)))
    refuse(`{ queue } must be a name of letters, digits, - and _, not ${JSON.stringify(queue)}`)
  if (!Number.isInteger(priority) || priority < 0 || priority > lastPriority)
    refuse(`{ priority } must be an integer from 0 to ${lastPriority}, not ${priority}`)
  if (!Number.isInteger(delay) || delay < 0 || delay > longestDelay)
    refuse(`{ delay } must be milliseconds, from 0 to ${longestDelay} (a day), not ${delay}`)
  return given
}

/** Names that people write for types that are found under another. */
const aliases: Readonly<Record<string, string>> = { 'image/jpg': 'image/jpeg', 'image/svg': 'image/svg+xml' }

function checkAccept(accept: AttachmentOptions<string>['accept'] | undefined, fail: Fail): readonly string[] | 'any' {
  const cure = "say which content types it takes, such as accept: ['image/jpeg', 'image/png'], or accept: 'any'"
  if (accept === 'any') return accept
  if (!Array.isArray(accept) || accept.length === 0)
    return fail('accept_missing', `accept is ${accept === undefined ? 'missing' : JSON.stringify(accept)}: ${cure}`)
  const wrong = accept.find((type) => !/^[a-z]+\/(\*|[a-z0-9.+-]+)$/.test(type))
  const alias = accept.map((type) => aliases[type]).find((type) => type !== undefined)
  if (alias) fail('bad_accept', `accept has another name of '${alias}', which no file is found to be: write '${alias}'`)
  if (wrong !== undefined) fail('bad_accept', `accept has '${wrong}', which is no content type: ${cure}`)
  return Object.freeze([...accept])
}

function columnsOf(property: string, given: Partial<Record<ColumnName, string>> = {}, fail: Fail): Readonly<Record<ColumnName, string>> {
  const stranger = Object.keys(given).find((name) => !(columnNames as readonly string[]).includes(name))
  if (stranger) fail('unknown_column', `columns names '${stranger}': there are ${columnNames.join(', ')}`)
  const prefix = underscore(property)
  const columns = Object.fromEntries(columnNames.map((name) => [name, given[name] ?? `${prefix}_${underscore(name)}`]))
  return Object.freeze(columns) as Readonly<Record<ColumnName, string>>
}

/** A user's own tokens: their values are made as safe as those of the built-in ones. */
function own(tokens: Tokens = {}): Tokens {
  return Object.fromEntries(Object.entries(tokens).map(([name, token]) => [name, (file: TemplateContext) => safe(String(token(file) ?? ''))]))
}
